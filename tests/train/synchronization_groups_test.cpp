// Training with statistics of groups of ranks: replicas stay replicas but for these statistics,
// which a merge makes one.

#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/model/merge_statistics.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Communicator& ranks() {
  static const Strategy world{Communicator::world()};
  return world.replicas();
}

Sequential model_in_groups_of(int size) {
  Sequential model({.dtype = DType::float64, .seed = 3}, Strategy(ranks().dup()));
  model.add(Dense({.units = 8}));
  model.add(SyncBatchNormalization({.momentum = 0.9, .synchronization_group = BySize{size}}));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(Dense({.units = 4}));
  return model;
}

bool is_replicated(const std::vector<double>& values) {
  return is_same_on_all_ranks(ranks(), std::as_bytes(std::span(values)));
}

std::vector<double> values_of_role(Sequential& model, VariableRole role) {
  std::vector<Variable*> variables = model.variables();
  std::erase_if(variables, [&](const Variable* variable) { return variable->role() != role; });
  return values_of(variables);
}

}  // namespace

TEST_CASE("groups train replicas with statistics of their own, and a merge makes them one",
          "[train]") {
  const SyntheticBlobs data({.num_samples = 43, .num_classes = 4, .num_features = 6});
  for (int size = 1; size <= ranks().size(); ++size) {
    Sequential model = model_in_groups_of(size);
    Trainer trainer(model, Sgd({.learning_rate = 0.05, .momentum = 0.9}),
                    SparseCategoricalCrossentropy{});
    const History history = trainer.fit(data, {.epochs = 8, .batch_size = 12, .seed = 7});
    REQUIRE_ON_ALL_RANKS(
        ranks(), history.epochs.back().training.loss < 0.8 * history.epochs.front().training.loss);
    REQUIRE_ON_ALL_RANKS(ranks(), is_replicated(values_of_role(model, VariableRole::parameter)));
    const bool is_one_before = is_replicated(values_of_role(model, VariableRole::statistic));
    CHECK(is_one_before == (size == ranks().size()));

    // A trainer evaluates as after a merge, and keeps the groups what they are.
    const std::vector<double> before = values_of(model.variables());
    const Tensor predictions = trainer.predict(data, 5);
    const double loss = trainer.evaluate(data, 7).loss;
    REQUIRE_ON_ALL_RANKS(ranks(), values_of(model.variables()) == before);

    merge_statistics(model);
    REQUIRE_ON_ALL_RANKS(ranks(), is_replicated(values_of_role(model, VariableRole::statistic)));
    // Which rank computes which sample makes no difference any more.
    const Tensor others = trainer.predict(data, 43);
    REQUIRE_ON_ALL_RANKS(ranks(), distance_of(predictions, others) < 1e-14);
    REQUIRE_ON_ALL_RANKS(ranks(), std::abs(trainer.evaluate(data, 7).loss - loss) < 1e-13);
    trainer.fit(data, {.epochs = 1, .batch_size = 12});  // goes on
  }
}
