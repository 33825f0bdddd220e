// Batch normalization that shares its variables and defers updates to collections.

#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

BatchNormalizationOptions options(bool reuse) {
  return {.momentum = 0.75,
          .renorm = true,
          .updates = Updates::deferred,
          .synchronized = true,
          .dtype = DType::float64,
          .name = "norm",
          .scope = {.reuse = reuse,
                    .outputs_collections = {"outputs"},
                    .updates_collections = {update_ops_collection}}};
}

const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

Tensor input(std::uint64_t seed) {
  return random_tensor({4, 2}, 10 * seed + static_cast<std::uint64_t>(world().rank()));
}

// Trains on three batches: the first and the last by `a`, the other by `b`.
void train(BatchNormalization& a, BatchNormalization& b) {
  Tensor y({4, 2}, DType::float64);
  a.forward(input(1), y, {.mode = Mode::training});
  b.forward(input(2), y, {.mode = Mode::training});
  a.forward(input(3), y, {.mode = Mode::training});
}

}  // namespace

TEST_CASE("layers that share batch normalization are as one", "[layers]") {
  BatchNormalizationOptions options_alone = options(false);
  options_alone.scope = {};
  BatchNormalization alone(options_alone);
  alone.build({4, 2}, world());
  train(alone, alone);
  const std::vector<double> before = values_of(alone.variables());
  alone.apply_updates();
  const std::vector<double> after = values_of(alone.variables());
  REQUIRE_ON_ALL_RANKS(world(), distance(before, after) > 1e-3);

  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization first(options(false));
  first.build({4, 2}, world());
  Tensor y({4, 2}, DType::float64);
  BatchNormalization moved = std::move(first);
  BatchNormalization second(options(true));
  second.build({4, 2}, world());
  REQUIRE_ON_ALL_RANKS(world(), second.variables() == moved.variables());
  train(moved, second);
  REQUIRE_ON_ALL_RANKS(world(), values_of(store.variables()) == before);
  REQUIRE_ON_ALL_RANKS(world(), store.outputs("outputs").size() == 2);

  BatchNormalization third(options(true));  // leaves what was learned as it is
  third.build({4, 2}, world());
  REQUIRE_ON_ALL_RANKS(world(), values_of(store.variables()) == before);
  store.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), values_of(store.variables()) == after);
  store.apply_updates();
  second.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), values_of(store.variables()) == after);
}
