// Layers of the user's own in configurations.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "layers/layer_properties.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/configuration.hpp"
#include "lockstep/layers/dense.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

using Catch::Contains;

// output = input; its configuration is any text.
class Own final : public Layer {
 public:
  Own(std::string type, std::string configuration)
      : Layer({.type = std::move(type), .name = {}, .input_shape = {}, .dtype = {}}),
        configuration_(std::move(configuration)) {}

  [[nodiscard]] Shape output_shape(const Shape& shape) const override { return shape; }
  [[nodiscard]] std::string configuration() const override { return configuration_; }
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override {
    return std::make_unique<Tape>();
  }
  void forward(const TensorView&, const MutableTensorView&, const Call&) override {}
  void backward(Tape&, const TensorView&, const MutableTensorView&, Gradients) override {}

 private:
  void do_create(const Shape&) override {}

  std::string configuration_;
};

std::string text_of(const std::string& type, int power) {
  return R"({"type":")" + type + R"(","options":{"power":)" + std::to_string(power) + "}}";
}

// A factory of layers with the option "power".
LayerFactory factory_of(const std::string& type) {
  return [=](std::string_view options) {
    const int power = nlohmann::json::parse(options).at("power").get<int>();
    return std::make_unique<Own>(type, text_of(type, power));
  };
}

std::vector<std::string> names_of(const std::vector<Property>& properties) {
  std::vector<std::string> names;
  for (const Property& property : properties) names.push_back(property.name);
  return names;
}

TEST_CASE("a registered type is read back and cloned") {
  register_layer("Power", factory_of("Power"));
  const Own layer("Power", text_of("Power", 3));
  const auto again = layer_from_configuration(layer.configuration());
  CHECK(*again == layer);
  CHECK(*layer.clone() == layer);
  CHECK_FALSE(*again == Own("Power", text_of("Power", 4)));
}

TEST_CASE("a type that was not registered cannot be read or cloned") {
  CHECK_THROWS_WITH(Own("Missing", text_of("Missing", 1)).clone(),
                    Contains("'Missing'") && Contains("register_layer()"));
  CHECK_THROWS_AS(Own("Missing", "any text").clone(), ArgumentError);
}

TEST_CASE("a type is registered once, with a factory of such layers") {
  register_layer("Once", factory_of("Once"));
  CHECK_THROWS_WITH(register_layer("Once", factory_of("Once")), Contains("'Once'"));
  CHECK_THROWS_AS(register_layer("Dense", factory_of("Dense")), ArgumentError);
  CHECK_THROWS_WITH(register_layer("Empty", nullptr), Contains("'Empty'"));

  register_layer("Nothing", [](std::string_view) { return nullptr; });
  CHECK_THROWS_WITH(layer_from_configuration(text_of("Nothing", 1)), Contains("made nothing"));
  register_layer("Wrong", [](std::string_view) { return std::make_unique<Dense>(); });
  CHECK_THROWS_WITH(layer_from_configuration(text_of("Wrong", 1)), Contains("made Dense"));
}

TEST_CASE("what a factory throws comes out as it is") {
  register_layer("Angry", [](std::string_view) -> std::unique_ptr<Layer> {
    throw DataError("no such table");
  });
  CHECK_THROWS_AS(layer_from_configuration(text_of("Angry", 1)), DataError);
}

TEST_CASE("ranks compare any configuration: by option, or as a whole") {
  using Names = std::vector<std::string>;
  const auto names = [](const std::string& configuration) {
    return names_of(properties_of(Own("Own", configuration), " of layer 'own'"));
  };
  CHECK(names(text_of("Own", 1)) == Names{"option power of layer 'own'", "variables of layer 'own'",
                                          "reuse of layer 'own'", "trainable of layer 'own'",
                                          "mode of layer 'own'", "dtype of layer 'own'"});
  const Names whole{"configuration of layer 'own'", "variables of layer 'own'",
                    "reuse of layer 'own'",         "trainable of layer 'own'",
                    "mode of layer 'own'",          "dtype of layer 'own'"};
  for (const char* text : {"any text", "", "{}", "3", R"({"type": "Own", "options": 3})",
                           R"({"type": "Own", "options": {}, "more": 1})"}) {
    INFO(text);
    CHECK(names(text) == whole);
  }
}

TEST_CASE("what differs by rank is not compared, at any depth") {
  const auto values = [](const std::string& options) {
    std::string all;
    for (const Property& property :
         properties_of(Own("Own", R"({"type": "Own", "options": )" + options + "}")))
      all += property.value + "\n";
    return all;
  };
  CHECK(values(R"({"a": [{"b": 1, "differs_by_rank": 2}], "differs_by_rank": [3]})") ==
        values(R"({"a": [{"b": 1, "differs_by_rank": 4}]})"));
  CHECK(values(R"({"a": [{"b": 1}]})") != values(R"({"a": [{"b": 2}]})"));
}

}  // namespace
}  // namespace lockstep
