// Collections that layers add their variables and outputs to.

#include <cstdint>
#include <utility>

#include "layers/scoped_layers.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/allocations.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

TEST_CASE("variables are in collections, all of a layer or by name", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense all = dense("a", {.variables_collections = CollectionNames{"weights", "mine"}});
  Dense some = dense("b", {.variables_collections = CollectionsByVariable{
                               {"kernel", {"weights"}}, {"bias", {"offsets", "mine"}}}});
  require_built(all);
  require_built(some);
  CHECK(names_of(store.collection("weights")) == Names{"a/kernel", "a/bias", "b/kernel"});
  CHECK(names_of(store.collection("mine")) == Names{"a/kernel", "a/bias", "b/bias"});
  CHECK(names_of(store.collection("offsets")) == Names{"b/bias"});
  CHECK(names_of(store.collection("trainable_variables")) ==
        Names{"a/kernel", "a/bias", "b/kernel", "b/bias"});

  Dense again = dense("a", {.reuse = true, .variables_collections = CollectionNames{"reused"}});
  require_built(again);
  CHECK(names_of(store.collection("reused")) == Names{"a/kernel", "a/bias"});
  CHECK(store.variables().size() == 4);
}

TEST_CASE("collections are refused without a store and for unknown variables", "[layers]") {
  Dense variables = dense({}, {.variables_collections = CollectionNames{"mine"}});
  Dense outputs = dense({}, {.outputs_collections = {"mine"}});
  for (Dense* layer : {&variables, &outputs})
    require_refusal(caught_from_build(*layer), {"collections", "VariableStore::scope()"});
  Dense updates = dense({}, {.updates_collections = {update_ops_collection}});
  require_built(updates);

  const VariableStore store;
  const auto scope = store.scope();
  Dense layer = dense("a", {.variables_collections = CollectionsByVariable{{"gamma", {"mine"}}}});
  require_refusal(caught_from_build(layer), {"no variable 'gamma'", "kernel, bias"});
  CHECK(store.variables().empty());
}

TEST_CASE("the last outputs of layers are in their collections", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("a", {.outputs_collections = {"outputs", "first"}});
  Conv2D second({.filters = 2,
                 .dtype = DType::float64,
                 .name = "b",
                 .scope = {.outputs_collections = {"outputs"}}});
  require_built(first);
  require_built(second, {4, 2, 2, 1});
  CHECK(store.outputs("outputs").empty());

  const Tensor x = random_tensor({4, 3}, 3), images = random_tensor({2, 2, 2, 1}, 4);
  Tensor y({4, 2}, DType::float64), more({4, 2}, DType::float64), z({2, 2, 2, 2}, DType::float64);
  second.forward(images, z, {});
  first.forward(x, y, {});
  const std::int64_t before = num_allocations();
  first.forward(x, more, {});
  CHECK(num_allocations() == before);
  const auto outputs = store.outputs("outputs");
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].layer == "a");
  CHECK(outputs[0].value.data() == more.data());
  CHECK(outputs[1].layer == "b");
  CHECK(outputs[1].value.shape() == z.shape());

  {
    const Dense moved = std::move(first);
    REQUIRE(store.outputs("first").size() == 1);
  }
  CHECK(store.outputs("first").empty());
  CHECK(store.outputs("outputs").size() == 1);
}
