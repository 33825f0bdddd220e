// How a model of one process is put together: names, variables, summary, refusals.

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/model/sequential.hpp"
#include "model/toy_layers.hpp"
#include "support/catch.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

std::vector<std::string> names_of(const std::vector<Layer*>& layers) {
  std::vector<std::string> names;
  for (const Layer* layer : layers) names.push_back(layer->name());
  return names;
}

}  // namespace

TEST_CASE("layers without a name get the first free one of their type") {
  Sequential model;
  model.add(Scale()).add(Twice()).add(Scale()).add(Scale({.name = "scale_2"})).add(Scale());
  REQUIRE(names_of(model.layers()) ==
          std::vector<std::string>{"scale", "twice", "scale_1", "scale_2", "scale_3"});
  REQUIRE(&model.layer("scale_1") == model.layers()[2]);
  REQUIRE_THROWS_WITH(model.layer("dense"),
                      Contains("'dense'") && Contains("scale, twice, scale_1, scale_2, scale_3"));
}

TEST_CASE("names that are given must differ") {
  Sequential model;
  model.add(Scale({.name = "a"})).add(Twice()).add(Scale({.name = "a"}));
  REQUIRE_THROWS_AS(model.build({4, 3}), ArgumentError);
  REQUIRE_THROWS_WITH(model.build({4, 3}), Contains("several layers named 'a'"));
}

TEST_CASE("variables exist before data when the first layer knows its input") {
  Sequential model;
  model.add(Scale({.input_shape = Shape{3}})).add(Twice()).add(Scale());
  std::vector<std::string> names;
  for (const Variable* variable : model.variables()) names.push_back(variable->name());
  REQUIRE(names == std::vector<std::string>{"scale/factor", "scale/num_seen", "scale/memory",
                                            "scale_1/factor", "scale_1/num_seen",
                                            "scale_1/memory"});
  REQUIRE(model.variable("scale_1/factor").shape() == Shape{6});
  REQUIRE_THROWS_WITH(model.variable("factor"), Contains("scale/factor, scale/num_seen"));
  REQUIRE_THROWS_AS(model.add(Twice()), StateError);

  const Variable* factor = &model.variable("scale/factor");
  model.build();
  REQUIRE(&model.variable("scale/factor") == factor);
  REQUIRE(model.is_built());
}

TEST_CASE("without an input shape there is nothing before build") {
  Sequential model;
  model.add(Scale());
  REQUIRE_THROWS_AS(model.variables(), StateError);
  REQUIRE_THROWS_WITH(model.summary(), Contains("input_shape") && Contains("'scale'"));
  REQUIRE_THROWS_AS(model.build(), StateError);
  model.build({0, 3});  // any extent of the batch axis
  REQUIRE(model.variables().size() == 3);
  REQUIRE_THROWS_AS(model.build({0, 3}), StateError);
}

TEST_CASE("the seed of the model decides initial values, the name which ones") {
  const auto factors = [](std::uint64_t seed) {
    Sequential model({.dtype = DType::float64, .seed = seed});
    model.add(Scale({.input_shape = Shape{3}})).add(Scale());
    return std::pair(values_of(model.variable("scale/factor")),
                     values_of(model.variable("scale_1/factor")));
  };
  REQUIRE(factors(1) == factors(1));
  REQUIRE(factors(1).first != factors(2).first);
  REQUIRE(factors(1).first != factors(1).second);
}

TEST_CASE("layers take the dtype of the model and must have one") {
  Sequential model({.dtype = DType::float64});
  model.add(Scale({.input_shape = Shape{3}})).add(Twice());
  REQUIRE(model.variable("scale/factor").dtype() == DType::float64);

  Sequential mixed;
  mixed.add(Scale()).add(Scale({.dtype = DType::float64}));
  REQUIRE_THROWS_WITH(mixed.build({1, 3}),
                      Contains("'scale_1'") && Contains("float64") && Contains("float32"));
  Sequential labels({.dtype = DType::int64});
  labels.add(Scale());
  REQUIRE_THROWS_WITH(labels.build({1, 3}), Contains("int64"));
}

TEST_CASE("the summary is a table") {
  Sequential model({.name = "tiny"});
  model.add(Scale({.name = "first_scale", .input_shape = Shape{100}})).add(Twice());
  model.add(Scale({.trainable = false}));
  REQUIRE(model.summary() ==
          "model: tiny\n"
          "layer (type)         output shape  parameters  trainable\n"
          "--------------------------------------------------------\n"
          "first_scale (Scale)  [None, 100]          101  yes\n"
          "twice (Twice)        [None, 200]            0  yes\n"
          "scale (Scale)        [None, 200]          201  no\n"
          "--------------------------------------------------------\n"
          "parameters: 302, trainable: 100, non-trainable: 202\n");
}

TEST_CASE("layers that do not fit are named with their shapes") {
  Sequential model;
  model.add(Census()).add(Scale());
  REQUIRE_THROWS_AS(model.build({2, 3, 4}), ArgumentError);
  REQUIRE_THROWS_WITH(model.build({2, 3, 4}), Contains("layer 'scale'") &&
                                                  Contains("[None, 3, 4]") && Contains("'census'"));
  REQUIRE_THROWS_WITH(model.build({2, 3}), Contains("[3, 4]") && Contains("another model"));
}

TEST_CASE("a model that cannot be built says why") {
  Sequential empty;
  REQUIRE_THROWS_WITH(empty.build({2, 3}), Contains("no layers"));
  REQUIRE_THROWS_AS(empty.variables(), ArgumentError);
  REQUIRE_THROWS_AS(empty.predict(Tensor({2, 3})), ArgumentError);
  REQUIRE_THROWS_AS(empty.add(std::unique_ptr<Layer>()), ArgumentError);

  Sequential model;
  model.add(Scale({.input_shape = Shape{3}}));
  REQUIRE_THROWS_AS(model.build(Shape{}), ArgumentError);
  REQUIRE_THROWS_WITH(model.build({2, 4}), Contains("[3]") && Contains("[4]"));
  Sequential hollow;
  hollow.add(Scale());
  REQUIRE_THROWS_WITH(hollow.build({2, 0}), Contains("[0]") && Contains("at least 1"));
  hollow.build({2, 1});
}

TEST_CASE("a build that failed half way continues with the layer that failed") {
  int num_failures = 1;
  int num_created = 0;
  Sequential model;
  model.add(Scale({.at_create = [&] { ++num_created; }}));
  model.add(Scale({.at_create = [&] {
    if (num_failures-- > 0) throw std::runtime_error("no luck");
  }}));
  REQUIRE_THROWS_WITH(model.build({2, 3}), Contains("'scale_1'") && Contains("no luck"));
  REQUIRE_FALSE(model.is_built());
  model.build({2, 3});
  REQUIRE(model.variables().size() == 6);
  REQUIRE(num_created == 1);
}

TEST_CASE("a model without a strategy has the one of the scope around it") {
  const Strategy strategy;
  const auto scope = strategy.scope();
  const Sequential model({.name = "inside"});
  REQUIRE(&model.strategy().replicas() == &strategy.replicas());
  REQUIRE(&Sequential(Strategy()).strategy().replicas() != &strategy.replicas());
}
