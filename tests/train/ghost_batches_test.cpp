// Ghost batches in training: no rank ever gets a part of one.

#include <cstdint>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Strategy& strategy() {
  static const Strategy replicas{Communicator::world()};
  return replicas;
}
const Communicator& world() { return strategy().replicas(); }

SyntheticBlobs blobs(std::int64_t num_samples) {
  return SyntheticBlobs({.num_samples = num_samples, .num_classes = 3, .num_features = 4});
}

// Ghost batches of 4 and of 6 samples, so that 12 must stay together.
Sequential model_on(const Strategy& ranks, bool is_trainable = true) {
  const auto normalizer = [&](std::int64_t size) {
    return BatchNormalizationOptions{.momentum = 0.9,
                                     .virtual_batch_size = size,
                                     .ghost_grouping = GhostGrouping::contiguous,
                                     .trainable = is_trainable,
                                     .synchronized = true};
  };
  Sequential model({.dtype = DType::float64, .seed = 3}, ranks);
  model.add(Dense({.units = 5, .normalizer = normalizer(4)}));
  model.add(Dense({.units = 5, .use_bias = false})).add(BatchNormalization(normalizer(6)));
  model.add(Dense({.units = 3}));
  return model;
}

std::int64_t num_steps_of_fit(Sequential& model, const Dataset& data, const FitOptions& options) {
  Trainer trainer(model, Sgd({.learning_rate = 0.1}), SparseCategoricalCrossentropy());
  trainer.fit(data, options);
  return trainer.num_steps();
}

}  // namespace

TEST_CASE("training with ghost batches is the same on any number of ranks") {
  const SyntheticBlobs data = blobs(75);
  for (const std::int64_t batch : {12, 36, 72}) {
    const FitOptions options{.epochs = 3, .batch_size = batch, .drop_remainder = true};
    Sequential together = model_on(strategy());
    Sequential alone = model_on(Strategy());
    REQUIRE_ON_ALL_RANKS(world(), num_steps_of_fit(together, data, options) == 3 * (75 / batch));
    num_steps_of_fit(alone, data, options);
    REQUIRE_ON_ALL_RANKS(
        world(), distance(values_of(together.variables()), values_of(alone.variables())) < 1e-12);
  }
}

TEST_CASE("a rest that ghost batches do not divide is an error before the first step") {
  struct Case {
    std::int64_t num_samples, batch_size;
    const char* text;
  };
  for (const Case& refused :
       {Case{60, 8, "virtual_batch_size 6 does not divide a batch of 8 samples"},
        Case{60, 54, "virtual_batch_size 4 does not divide a batch of 54 samples"},
        Case{66, 12, "virtual_batch_size 4 does not divide the last batch of 6 samples"},
        Case{10, 12, "virtual_batch_size 4 does not divide the last batch of 10 samples"}}) {
    Sequential model = model_on(strategy());
    const SyntheticBlobs data = blobs(refused.num_samples);
    const auto fit = [&](bool drop_remainder) {
      return num_steps_of_fit(model, data,
                              {.batch_size = refused.batch_size, .drop_remainder = drop_remainder});
    };
    const Caught caught = caught_from([&] { fit(false); });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find(refused.text) != std::string::npos);
    if (refused.batch_size == 12)
      REQUIRE_ON_ALL_RANKS(world(), fit(true) == refused.num_samples / 12);
  }
}

TEST_CASE("layers that do not use their ghost batches let any batch pass") {
  Sequential inside({}, strategy());  // frozen by the layer around it
  inside.add(Dense({.units = 3,
                    .normalizer = BatchNormalizationOptions{.virtual_batch_size = 4},
                    .trainable = false}));
  REQUIRE_ON_ALL_RANKS(world(), num_steps_of_fit(inside, blobs(9), {.batch_size = 4}) == 3);
  Sequential frozen = model_on(strategy(), false);
  REQUIRE_ON_ALL_RANKS(world(), num_steps_of_fit(frozen, blobs(9), {.batch_size = 4}) == 3);
}
