// Layers of layers read back from their configurations and cloned.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/configuration.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using namespace testing;
using Catch::Contains;
using Json = nlohmann::ordered_json;

Dense normalized_dense(bool is_normalizer_trainable = true) {
  return Dense({.units = 3,
                .activation = ActivationFunction::relu,
                .normalizer = BatchNormalizationOptions{
                    .momentum = 0.5, .trainable = is_normalizer_trainable, .name = "norm"}});
}

// With default names, given ones, and a block inside.
Residual rich_block() {
  Residual inside({.activation = ActivationFunction::gelu});
  inside.add_main(BatchNormalization({.epsilon = 0.25}));
  Residual block({.activation = ActivationFunction::leaky_relu,
                  .negative_slope = 0.4,
                  .dtype = DType::float64,
                  .input_shape = Shape{2}});
  block.add_main(normalized_dense(false)).add_main(Dense({.units = 3, .name = "second"}));
  block.add_main(std::move(inside));
  block.add_shortcut(Dense({.units = 3}));
  return block;
}

std::vector<std::string> names_of(Layer& layer) {
  std::vector<std::string> names;
  for (const Variable* variable : layer.variables()) names.push_back(variable->name());
  return names;
}

void check_equal(const Layer& a, const Layer& b) {
  CHECK(a.configuration() == b.configuration());
  CHECK(a == b);
  REQUIRE(a.inner_layers().size() == b.inner_layers().size());
  for (std::size_t i = 0; i < a.inner_layers().size(); ++i) {
    CHECK(a.inner_layers()[i]->name() == b.inner_layers()[i]->name());
    check_equal(*a.inner_layers()[i], *b.inner_layers()[i]);
  }
}

// Reads {"type": "Residual", "options": <options>}.
std::unique_ptr<Layer> read(const std::string& options) {
  return layer_from_configuration(R"({"type": "Residual", "options": )" + options + "}");
}

// A layer of the user's own whose configuration is no JSON.
class Own final : public Layer {
 public:
  explicit Own(std::string text)
      : Layer({.type = "Own", .name = {}, .input_shape = {}, .dtype = {}}),
        text_(std::move(text)) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return text_; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView&, const MutableTensorView&, const Call&) override {}
  void backward(Tape&, const TensorView&, const MutableTensorView&, Gradients) override {}

 private:
  void do_create(const Shape&) override {}
  std::string text_;
};

}  // namespace

TEST_CASE("a block reads back from its configuration, and is cloned, as it was") {
  for (const bool is_in_scope : {false, true}) {
    const auto block = [&] {
      if (!is_in_scope) return rich_block();
      const VariableScope scope({.name = "net"});
      return rich_block();
    }();
    const auto again = layer_from_configuration(block.configuration());
    const auto clone = block.clone();
    check_equal(*again, block);
    check_equal(*clone, block);
    CHECK(clone->has_default_name());
    Residual built =
        is_in_scope ? std::move(dynamic_cast<Residual&>(*block.clone())) : rich_block();
    for (Layer* layer : {static_cast<Layer*>(&built), again.get(), clone.get()})
      layer->build({4, 2});
    CHECK(names_of(*again) == names_of(built));
    CHECK(names_of(*clone) == names_of(built));
    const Tensor x = random_tensor({4, 2}, 1);
    const Tensor y = output_of(built, x, {.mode = Mode::training});
    CHECK(is_identical(output_of(*again, x, {.mode = Mode::training}), y));
    CHECK(is_identical(output_of(*clone, x, {.mode = Mode::training}), y));
    check_equal(*layer_from_configuration(built.configuration()), built);
    check_equal(*built.clone(), built);
  }
}

TEST_CASE("the configuration of a block lists its layers in their order") {
  const Json options = Json::parse(rich_block().configuration())["options"];
  CHECK(options["activation"] == "leaky_relu");
  CHECK(options["negative_slope"] == 0.4);
  CHECK(options["input_shape"] == Json({2}));
  REQUIRE(options["main"].size() == 3);
  REQUIRE(options["shortcut"].size() == 1);
  CHECK(options["main"][0]["type"] == "Dense");
  CHECK(options["main"][0]["options"]["normalizer"]["name"] == "norm");
  CHECK(options["main"][1]["options"]["name"] == "residual/second");
  CHECK(options["main"][2]["options"]["main"][0]["options"]["epsilon"] == 0.25);
  CHECK(options["shortcut"][0]["options"]["name"] == "residual/dense_1");
}

TEST_CASE("blocks of other layers differ, and so do those of other branches") {
  const auto block = [](auto&& fill) {
    Residual result;
    fill(result);
    return result;
  };
  const Residual one = block([](Residual& b) { b.add_main(Dense({.units = 3, .name = "a"})); });
  const Residual other = block([](Residual& b) { b.add_main(Dense({.units = 4, .name = "a"})); });
  const Residual shortcut =
      block([](Residual& b) { b.add_shortcut(Dense({.units = 3, .name = "a"})); });
  CHECK_FALSE(one == other);
  CHECK_FALSE(one == shortcut);
  CHECK_FALSE(one == Residual());
}

TEST_CASE("configurations of blocks may leave out everything, and nothing else is read") {
  CHECK(*read("{}") == Residual());
  const auto block = read(R"({"main": [{"type": "Dense", "options": {"units": 3}}]})");
  CHECK(dynamic_cast<Residual&>(*block).main_layers().size() == 1);
  block->build({4, 3});
  for (const auto& [options, part] : std::vector<std::pair<std::string, std::string>>{
           {"3", "Residual"},
           {R"({"main": {}})", "Residual.main: expected a list"},
           {R"({"layers": []})", "'layers'"},
           {R"({"main": [3]})", "Residual.main[0]: "},
           {R"({"shortcut": [{"type": "Dens", "options": {}}]})",
            "Residual.shortcut[0]: there is no layer type 'Dens'"},
           {R"({"negative_slope": "x"})", "Residual.negative_slope"}}) {
    const std::string text = options;
    const Caught caught = caught_from([&] { (void)read(text); });
    INFO(text << ": " << caught.what);
    CHECK(caught.is(ErrorCode::argument));
    CHECK_THAT(caught.what, Contains(part));
  }
}

TEST_CASE("a block tells what its layers tell, whatever that is") {
  Residual one, other;
  one.add_main(Own("no JSON \"at all"));
  other.add_main(Own("something else"));
  CHECK_FALSE(one == other);
  CHECK(Json::parse(one.configuration())["options"]["main"][0] == "no JSON \"at all");
  one.build({4, 3});
  CHECK_THROWS_AS(layer_from_configuration(one.configuration()), ArgumentError);
  CHECK_THROWS_AS(one.clone(), ArgumentError);
}

TEST_CASE("a configuration tells of a normalizer as it is now") {
  Dense dense = normalized_dense(false);
  const auto normalizer_in = [](const Layer& layer) {
    return Json::parse(layer.configuration())["options"]["normalizer"];
  };
  CHECK(normalizer_in(dense)["trainable"] == false);
  CHECK(*dense.clone() == dense);
  CHECK_FALSE(dynamic_cast<Dense&>(*dense.clone()).normalizer().is_trainable());
  dense.set_trainable(true);
  dense.normalizer().set_momentum(0.25);
  dense.normalizer().set_synchronized(true);
  CHECK(normalizer_in(dense)["trainable"] == true);
  CHECK(normalizer_in(dense)["momentum"] == 0.25);
  CHECK(normalizer_in(dense)["synchronized"] == true);
  for (const auto& same : {dense.clone(), layer_from_configuration(dense.configuration())}) {
    CHECK(*same == dense);
    CHECK(dynamic_cast<Dense&>(*same).normalizer() == dense.normalizer());
  }
}

}  // namespace lockstep
