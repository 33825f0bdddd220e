// Models read back from their configurations and cloned; what ranks hear when theirs differ.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/configuration.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/model/sequential.hpp"
#include "model/toy_layers.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& ranks() { return strategy().replicas(); }
bool is_last() { return strategy().rank() == strategy().num_replicas() - 1; }

// Layers with default names, one of them given to another first.
Sequential model_of(SequentialOptions options = {}, std::int64_t units = 4) {
  Sequential model(std::move(options), strategy());
  model.add(Dense({.units = 5, .name = "dense_1", .input_shape = Shape{3}}));
  model.add(Dense({.units = units, .activation = ActivationFunction::gelu}));
  model.add(BatchNormalization({.momentum = std::nullopt, .epsilon = 0.1}));
  model.add(Dense({.units = 2}));
  model.add(Dropout({.rate = 0.3}));
  return model;
}

std::vector<std::string> names_of(const Sequential& model) {
  std::vector<std::string> names;
  for (const Layer* layer : model.layers()) names.push_back(layer->name());
  return names;
}

Sequential read(const nlohmann::json& configuration) {
  return sequential_from_configuration(configuration.dump(), strategy());
}

}  // namespace

TEST_CASE("a model reads back from its configuration as it was") {
  const SequentialOptions options{
      .dtype = DType::float64, .seed = 18446744073709551615U, .name = "\"\n"};
  const Sequential model = model_of(options);
  const std::string text = model.configuration();
  const Sequential again = sequential_from_configuration(text, strategy());
  REQUIRE(again.configuration() == text);
  REQUIRE(again == model);
  REQUIRE(names_of(again) == names_of(model));
  REQUIRE(again.dtype() == DType::float64);
  REQUIRE(again.seed() == options.seed);
  REQUIRE(again.name() == options.name);
  REQUIRE(again.strategy().num_replicas() == strategy().num_replicas());
  REQUIRE(Sequential({}, strategy()) == read(nlohmann::json::parse(Sequential().configuration())));
}

TEST_CASE("models that differ in an option or a layer are not equal") {
  const Sequential model = model_of();
  REQUIRE(model == model_of());
  REQUIRE_FALSE(model == model_of({.seed = 1}));
  REQUIRE_FALSE(model == model_of({.dtype = DType::float64}));
  REQUIRE_FALSE(model == model_of({.name = "other"}));
  REQUIRE_FALSE(model == model_of({}, 3));
  Sequential longer = model_of();
  longer.add(Activation());
  REQUIRE_FALSE(model == longer);
}

TEST_CASE("a clone of a model has its options and layers, and variables of its own") {
  Sequential model = model_of({.dtype = DType::float64, .seed = 7});
  model.layer("dense_2").set_trainable(false);
  model.build();
  Sequential clone = model.clone();
  REQUIRE_FALSE(clone.is_built());
  REQUIRE(clone == model);
  REQUIRE(names_of(clone) == names_of(model));
  REQUIRE(clone.strategy().num_replicas() == strategy().num_replicas());
  clone.build();
  REQUIRE(clone == model);  // building changes no option

  // The same names and seed give the same initial values; changed ones are each model's own.
  const Tensor x = random_tensor({6, 3}, 1);
  REQUIRE_ON_ALL_RANKS(ranks(), is_identical(clone.predict(x), model.predict(x)));
  for (Layer* layer : clone.layers()) randomize_parameters(*layer);
  REQUIRE_ON_ALL_RANKS(ranks(), !is_identical(clone.predict(x), model.predict(x)));
}

TEST_CASE("layers with default names get free ones in a model that a clone is added to") {
  Sequential model = model_of();
  model.add(model.layer("dense_2").clone());
  REQUIRE(names_of(model).back() == "dense_2_1");
}

TEST_CASE("what is no configuration of a model is refused, and the layer named") {
  const nlohmann::json good = nlohmann::json::parse(model_of().configuration());
  REQUIRE(read(good) == model_of());
  const auto refusal = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    const Caught caught = caught_from([&] { (void)read(bad); });
    CHECK(caught.is(ErrorCode::argument));
    return caught.what;
  };
  CHECK_THAT(refusal("/type", "Dense"), Contains("type: expected \"Sequential\""));
  CHECK_THAT(refusal("/more", 1), Contains("'more'"));
  CHECK_THAT(refusal("/options/sed", 1), Contains("Sequential: there is no 'sed'"));
  CHECK_THAT(refusal("/options/dtype", "float3"), Contains("Sequential.dtype"));
  CHECK_THAT(refusal("/options/seed", -1), Contains("Sequential.seed"));
  CHECK_THAT(refusal("/layers", 1), Contains("layers: expected a list"));
  CHECK_THAT(refusal("/layers/2", 1), Contains("layer 2: ") && Contains("expected an object"));
  CHECK_THAT(refusal("/layers/2/type", "Danse"), Contains("layer 2: ") && Contains("'Danse'"));
  CHECK_THAT(refusal("/layers/4/options/rate", "x"), Contains("layer 4: Dropout.rate"));
  const std::string text = good.dump();
  for (std::size_t length = 0; length < text.size(); length += 7)
    CHECK_THROWS_AS(sequential_from_configuration(text.substr(0, length)), ArgumentError);
}

TEST_CASE("a layer whose configuration is no JSON is named") {
  Sequential model;
  model.add(Scale({.name = "own"}));
  REQUIRE_THROWS_WITH(model.configuration(), Contains("'own'"));
  REQUIRE_THROWS_AS(model.clone(), ArgumentError);
}

TEST_CASE("models that differ in one option are refused by layer and option") {
  Sequential model = model_of({}, is_last() ? 3 : 4);
  const Caught caught = caught_from([&] { model.build(); });
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught.what));
  if (ranks().is_solo()) return;
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::mismatch));
  REQUIRE(caught.what ==
          "model 'sequential', build: option units of layer 'dense' differs between ranks: rank 0 "
          "has 4, rank " +
              std::to_string(ranks().size() - 1) + " has 3. All ranks must give the same");
}
