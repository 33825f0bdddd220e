// Layers read back from their configurations as they were, and nothing else is read.

#include "lockstep/layers/configuration.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "layers/library_layers.hpp"
#include "layers/num_fields.hpp"
#include "layers/random_options.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"

namespace lockstep {
namespace {

using namespace testing;
using Catch::Contains;
using Json = nlohmann::json;

Json options_in(const Layer& layer) { return Json::parse(layer.configuration()).at("options"); }

std::string text_with(const std::string& type, const Json& options) {
  return Json{{"type", type}, {"options", options}}.dump();
}

// Reads {"type": "<type>", "options": <options>}, options being any text.
std::unique_ptr<Layer> read(const std::string& type, const std::string& options) {
  return layer_from_configuration(R"({"type": ")" + type + R"(", "options": )" + options + "}");
}

template <class Aggregate>
void check_fields() {
  CHECK(field_names_of<Aggregate>().size() == num_fields_of<Aggregate>());
}

TEST_CASE("every field of every aggregate of options is listed") {
  std::size_t num_types = 0;
  for_each_layer_type([&]<class L>(std::type_identity<L>) {
    INFO(L(OptionsOf<L>()).type());
    check_fields<OptionsOf<L>>();
    ++num_types;
  });
  CHECK(num_types + 1 == library_layers().size());  // blocks have layers besides
  check_fields<ResidualOptions>();
  check_fields<Constant>();
  check_fields<RandomNormal>();
  check_fields<RandomUniform>();
  check_fields<TruncatedNormal>();
  check_fields<VarianceScaling>();
  check_fields<L1L2>();
  check_fields<MaxNorm>();
  check_fields<NonNeg>();
  check_fields<UnitNorm>();
  check_fields<MinMaxNorm>();
  check_fields<BySize>();
  check_fields<RenormClipping>();
  check_fields<ScopeOptions>();
}

TEST_CASE("layers of any options read back from their configurations as they were") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    Dice dice(1);
    for (int repetition = 0; repetition < 60; ++repetition) {
      const L layer(dice.draw<OptionsOf<L>>());
      const std::string text = layer.configuration();
      INFO(text);
      const auto again = layer_from_configuration(text);
      CHECK(again->configuration() == text);
      CHECK(*again == layer);
      auto expected = layer.options();
      bool has_own_scope = false;
      if constexpr (requires { expected.scope; }) has_own_scope = !expected.scope.name.empty();
      if (!has_own_scope) expected.name = layer.name();  // the default one where none was given
      CHECK(is_same(dynamic_cast<const L&>(*again).options(), expected));
    }
  });
}

TEST_CASE("a configuration is one line and tells every option by its name") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    Dice dice(2);
    dice.allow_functions();
    for (const std::string& name : field_names_of<OptionsOf<L>>())
      for (int repetition = 0; repetition < 8; ++repetition) {
        const L layer(dice.draw<OptionsOf<L>>());
        const L other(with_other(layer.options(), name, dice));
        INFO(layer.configuration() << "\n" << other.configuration());
        CHECK(layer.configuration().find('\n') == std::string::npos);
        Json rest = options_in(layer);
        Json other_rest = options_in(other);
        CHECK(rest.at(name) != other_rest.at(name));
        CHECK_FALSE(layer == other);
        for (const std::string& same : name == "scope" ? CollectionNames{name, "name"}  // a default
                                                       : CollectionNames{name}) {
          rest.erase(same);
          other_rest.erase(same);
        }
        CHECK(rest == other_rest);
      }
  });
}

TEST_CASE("a configuration is what people would write") {
  const Dense dense({.units = 3,
                     .activation = ActivationFunction::relu,
                     .kernel_initializer = Constant{0.5},
                     .input_shape = Shape{8}});
  CHECK(dense.configuration() ==
        R"({"type":"Dense","options":{"units":3,"activation":"relu","use_bias":true,)"
        R"("kernel_initializer":{"type":"constant","value":0.5},)"
        R"("bias_initializer":{"type":"zeros"},"kernel_regularizer":null,"bias_regularizer":null,)"
        R"("kernel_constraint":null,"bias_constraint":null,"normalizer":null,"trainable":true,)"
        R"("scope":{"name":"","default_name":"","reuse":false,"variables_collections":[],)"
        R"("outputs_collections":[],"updates_collections":[]},"dtype":null,"name":"dense",)"
        R"("input_shape":[8]}})");
  const Json normalization =
      options_in(BatchNormalization({.axis = {1, 2},
                                     .momentum = std::nullopt,
                                     .gamma_regularizer = L1L2{.l2 = 0.25},
                                     .beta_constraint = NonNeg{},
                                     .renorm_clipping = {.rmax = 3.0},
                                     .moving_variance = MovingVariance::as_tensorflow,
                                     .synchronization_group = ByColor{4}}));
  CHECK(normalization["axis"] == Json({1, 2}));
  CHECK(normalization["momentum"] == nullptr);
  CHECK(normalization["beta_regularizer"] == nullptr);
  CHECK(normalization["gamma_regularizer"] == Json{{"type", "l1_l2"}, {"l1", 0.0}, {"l2", 0.25}});
  CHECK(normalization["beta_constraint"] == Json{{"type", "non_neg"}});
  CHECK(normalization["renorm_clipping"] ==
        Json{{"rmin", 0.0}, {"rmax", 3.0}, {"dmax", "infinity"}});
  CHECK(normalization["moving_variance"] == "as_tensorflow");
  CHECK(normalization["synchronization_group"] ==
        Json{{"type", "by_color"}, {"differs_by_rank", {{"color", 4}}}});
  CHECK(options_in(Conv2D({.filters = 2, .kernel_size = {3, 5}}))["kernel_size"] == Json({3, 5}));
}

TEST_CASE("options that are left out have their default values") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    const L layer{OptionsOf<L>()};
    CHECK(*read(layer.type(), "{}") == layer);
  });
  const auto constant = read("Dense", R"({"kernel_initializer": {"type": "constant"}})");
  CHECK(options_in(*constant)["kernel_initializer"]["value"] == 0.0);
}

TEST_CASE("the name and whether it is trained are those of now") {
  Conv2D layer({.filters = 1});
  layer.rename("other");
  layer.set_trainable(false);
  CHECK(options_in(layer)["name"] == "other");
  CHECK(options_in(layer)["trainable"] == false);
  CHECK_FALSE(layer_from_configuration(layer.configuration())->is_trainable());
}

TEST_CASE("what is no configuration of a layer is refused, and the place named") {
  struct Case {
    std::string text, named;
  };
  const std::vector<Case> cases{
      {"", "no JSON"},
      {"[]", "expected an object"},
      {"null", "expected an object"},
      {"{}", "'type'"},
      {R"({"type": "Dense"})", "'options'"},
      {R"({"options": {}})", "'type'"},
      {R"({"type": 3, "options": {}})", "type: expected a text, got 3"},
      {R"({"type": "Dense", "options": {}, "more": 1})", "'more'"},
      {R"({"type": "Dense", "options": []})", "expected an object"},
      {R"({"type": "Dens", "options": {}})", "'Dens'; known are: Activation, "},
      {R"({"type": "Dense", "options": {"unit": 3}})", "Dense: there is no 'unit'; known are: uni"},
      {R"({"type": "Dense", "options": {"units": 3, "units": 4}})", "'units' comes twice"},
      {R"({"type": "Dense", "options": {}} {})", "no JSON"},
      {R"({"type": "Dense", "options": {},})", "no JSON"},
      {R"({"type": "Dense", "options": {"units": 03}})", "no JSON"},
      {R"({"type": "Dense", "options": {"name": "\uD800"}})", "no JSON"},
      {"{\"type\": \"Dense\", \"options\": {\"name\": \"\xFF\"}}", "no JSON"},
      {R"({"type": "Dense", "options": {"kernel_initializer": {"type": "one"}}})",
       "Dense.kernel_initializer.type: expected one of zeros, ones, constant, "},
      {R"({"type": "Dense", "options": {"kernel_initializer": {"type": "ones", "value": 1}}})",
       "Dense.kernel_initializer: there is no 'value'"},
      {R"({"type": "Dense", "options": {"kernel_initializer": {"type": "constant", "value": []}}})",
       "Dense.kernel_initializer.value: expected a number"},
      {R"({"type": "Dense", "options": {"input_shape": [3, "x"]}})",
       R"(Dense.input_shape[1]: expected an integer)"},
      {R"({"type": "Conv2D", "options": {"kernel_size": [3, 3, 3]}})", "[height, width]"},
      {R"({"type": "BatchNormalization",
           "options": {"synchronization_group": {"type": "by_color", "color": 1}}})",
       "BatchNormalization.synchronization_group: there is no 'color'"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const Caught caught = caught_from([&] { (void)layer_from_configuration(c.text); });
    CHECK(caught.is(ErrorCode::argument));
    CHECK_THAT(caught.what, Contains(c.named));
  }
}

TEST_CASE("any value in place of an option is refused by its name, or is its value") {
  const std::vector<Json> values{nullptr,
                                 true,
                                 -1,
                                 3,
                                 2.5,
                                 1e20,
                                 std::uint64_t{1} << 63U,
                                 "",
                                 "no such",
                                 "relu",
                                 Json::array(),
                                 Json({1, 2}),
                                 Json({1, "x"}),
                                 Json(std::vector<int>(17, 1)),
                                 Json::object(),
                                 Json{{"type", "no such"}},
                                 Json{{"type", nullptr}},
                                 Json{{"type", "function"}, {"name", "mine"}},
                                 Json{{"no such", 1}}};
  for_each_layer_type([&]<class L>(std::type_identity<L>) {
    const std::string type = L(OptionsOf<L>()).type();
    for (const std::string& name : field_names_of<OptionsOf<L>>())
      for (const Json& value : values) {
        const Json options{{name, value}};
        INFO(type << " " << options);
        std::unique_ptr<Layer> layer;
        const Caught caught =
            caught_from([&] { layer = layer_from_configuration(text_with(type, options)); });
        if (layer == nullptr) {
          CHECK(caught.is(ErrorCode::argument));
          CHECK_THAT(caught.what, Contains(type + "." + name));
        } else if (value != "" && value != Json::object()) {
          // "" asks for the default name, {} for the default limits.
          CHECK(options_in(*layer).at(name) == value);
        }
      }
  });
}

TEST_CASE("texts that are cut or damaged are refused, or are other configurations") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    Dice dice(3);
    const std::string text = L(dice.draw<OptionsOf<L>>()).configuration();
    for (std::size_t length = 0; length < text.size(); ++length)
      CHECK_THROWS_AS(layer_from_configuration(text.substr(0, length)), ArgumentError);
    for (int repetition = 0; repetition < 300; ++repetition) {
      std::string damaged = text;
      damaged[dice.below(text.size())] = static_cast<char>(dice.below(256));
      INFO(damaged);
      std::unique_ptr<Layer> layer;
      const Caught caught = caught_from([&] { layer = layer_from_configuration(damaged); });
      if (layer == nullptr)
        CHECK(caught.is(ErrorCode::argument));
      else
        CHECK(*layer_from_configuration(layer->configuration()) == *layer);
    }
  });
}

TEST_CASE("texts that nest deeply or hold very many keys are refused") {
  for (const std::size_t depth : {100U, 1'000'000U}) {
    CHECK_THROWS_WITH(layer_from_configuration(std::string(depth, '[')), Contains("deeper"));
    CHECK_THROWS_WITH(read("Dense", R"({"units": )" + std::string(depth, '[')), Contains("deeper"));
    std::string objects;
    for (std::size_t i = 0; i < depth; ++i) objects += R"({"a":)";
    CHECK_THROWS_WITH(layer_from_configuration(objects), Contains("deeper"));
  }
  std::string keys = "{";
  for (int i = 0; i < 100'000; ++i) keys += "\"key " + std::to_string(i) + "\": 1, ";
  CHECK_THROWS_WITH(read("Dense", keys + R"("units": 3})"), Contains("more than 1000 keys"));
}

TEST_CASE("numbers that do not fit are refused") {
  for (const char* units : {"1e3", "3.0", "9223372036854775808", "-9223372036854775809", "1e400",
                            "123456789012345678901234567890"})
    CHECK_THROWS_AS(read("Dense", std::string(R"({"units": )") + units + "}"), ArgumentError);
  for (const char* seed : {"-1", "18446744073709551616", "0.5"})
    CHECK_THROWS_AS(read("Dropout", std::string(R"({"seed": )") + seed + "}"), ArgumentError);
  for (const char* axis : {"2147483648", "-2147483649"})
    CHECK_THROWS_AS(read("Softmax", std::string(R"({"axis": )") + axis + "}"), ArgumentError);
  CHECK_THROWS_AS(read("Dropout", R"({"rate": 1e400})"), ArgumentError);
  CHECK(options_in(*read("Dropout", R"({"seed": 18446744073709551615})"))["seed"] ==
        18446744073709551615U);
  CHECK(options_in(*read("Dropout", R"({"rate": 1})"))["rate"] == 1.0);
}

TEST_CASE("functions are written by name, never read, and equal when their names are") {
  const auto layer = [](const std::string& name) {
    return BatchNormalization(
        {.beta_regularizer = RegularizerFunction{.name = name, .penalty = {}, .add_gradient = {}},
         .gamma_constraint = ConstraintFunction{.name = name, .project = {}},
         .activation = CustomActivation{.name = name, .value = {}, .derivative = {}}});
  };
  const Json options = options_in(layer("mine"));
  for (const char* option : {"beta_regularizer", "gamma_constraint", "activation"}) {
    INFO(option);
    CHECK(options[option] == Json{{"type", "function"}, {"name", "mine"}});
    const std::string text = text_with("BatchNormalization", {{option, options[option]}});
    CHECK_THROWS_WITH(layer_from_configuration(text),
                      Contains(option) && Contains("'mine'") && Contains("cannot be read"));
  }
  CHECK(layer("mine") == layer("mine"));
  CHECK_FALSE(layer("mine") == layer("other"));

  const BatchNormalization adjusted({.adjustment = [](const Shape&) { return Adjustment{}; }});
  CHECK(options_in(adjusted)["adjustment"] == Json{{"type", "function"}});
  CHECK_FALSE(adjusted == BatchNormalization());
  CHECK_THROWS_WITH(layer_from_configuration(adjusted.configuration()),
                    Contains("BatchNormalization.adjustment") && Contains("cannot be read"));
}

TEST_CASE("layers of different types differ") {
  CHECK_FALSE(MaxPool2D({.name = "pool"}) == AveragePool2D({.name = "pool"}));
}

TEST_CASE("text that is not UTF-8 is refused where it is written") {
  Dense layer({.units = 1, .name = "\xFF"});
  CHECK_THROWS_WITH(layer.configuration(), Contains("UTF-8"));
  CHECK_THROWS_AS(layer.build({1, 1}), ArgumentError);
}

}  // namespace
}  // namespace lockstep
