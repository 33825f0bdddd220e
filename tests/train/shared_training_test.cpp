// Training a model whose layers share variables: each is updated once per step, ranks learn what
// one learns, and a model for inference that shares them knows it too.

#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double learning_rate = 0.05;

Dense hidden(bool reuse) {
  return Dense({.units = 6,
                .activation = ActivationFunction::tanh,
                .name = "hidden",
                .scope = {.reuse = reuse}});
}

// Uses one dense layer twice, with a normalization in between.
Sequential network(const Strategy& strategy, bool reuse) {
  const VariableScope scope({.name = "net", .reuse = reuse});
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(hidden(false)).add(SyncBatchNormalization({.momentum = 0.9})).add(hidden(true));
  model.add(Dense({.units = 4}));
  return model;
}

const SyntheticBlobs& data() {
  static const SyntheticBlobs blobs({.num_samples = 31, .num_classes = 4, .num_features = 6});
  return blobs;
}

// Values after some steps.
std::vector<double> learned(const Strategy& strategy) {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = network(strategy, false);
  Trainer trainer(model, Sgd({.learning_rate = learning_rate, .momentum = 0.9}),
                  SparseCategoricalCrossentropy{});
  trainer.fit(data(), {.epochs = 5, .batch_size = 10, .seed = 7});
  return values_of(model.variables());
}

}  // namespace

TEST_CASE("an optimizer updates a shared variable once per step", "[train]") {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = network(Strategy(), false);
  Trainer trainer(model, Sgd({.learning_rate = learning_rate}), SparseCategoricalCrossentropy{});
  trainer.fit(data(), {.epochs = 1, .batch_size = 31});
  const Variable& kernel = model.variable("net/hidden/kernel");
  const std::vector<double> before = values_of(kernel);
  trainer.fit(data(), {.epochs = 1, .batch_size = 31});
  std::vector<double> expected = before;
  for (std::size_t i = 0; i < expected.size(); ++i)
    expected[i] -= learning_rate * kernel.grad().values<double>()[i];
  CHECK(distance(values_of(kernel), expected) < 1e-14);
  CHECK(distance(before, expected) > 1e-4);
}

TEST_CASE("shared variables learn the same on any number of ranks", "[train]") {
  const Strategy world{Communicator::world()};
  const std::vector<double> alone = learned(Strategy()), together = learned(world);
  REQUIRE_ON_ALL_RANKS(world.replicas(), distance(together, alone) < 1e-9);
}

TEST_CASE("a model for inference knows what the model for training learns", "[train]") {
  const Strategy world{Communicator::world()};
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = network(world, false), inference = network(world, true);
  model.build({1, 6});
  inference.build({1, 6});
  Tensor x({5, 6}, DType::float64);
  for (double& value : x.values<double>()) value = 0.3;
  const Tensor before = inference.predict(x);
  Trainer trainer(model, Adam(), SparseCategoricalCrossentropy{});
  trainer.fit(data(), {.epochs = 2, .batch_size = 10});
  REQUIRE_ON_ALL_RANKS(world.replicas(), !is_identical(inference.predict(x), before));
  REQUIRE_ON_ALL_RANKS(world.replicas(), is_identical(inference.predict(x), model.predict(x)));
}
