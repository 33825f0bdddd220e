// Training with inputs and outputs of 16 bits and float32 parameters.

#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/average_pool2d.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const SyntheticImages& images() {
  static const SyntheticImages data(
      {.num_samples = 128, .num_classes = 4, .shape = {8, 8, 1}, .noise = 0.3});
  return data;
}

Sequential cnn(DType dtype) {
  Sequential model({.dtype = dtype, .seed = 3}, Strategy(Communicator::world()));
  model.add(Conv2D({.filters = 6, .kernel_size = {3, 3}, .padding = Padding::same}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(MaxPool2D());
  model.add(Conv2D({.filters = 8, .kernel_size = {3, 3}, .padding = Padding::same}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::gelu}));
  model.add(AveragePool2D());
  model.add(Flatten());
  model.add(Dropout({.rate = 0.1}));
  model.add(Dense({.units = 4}));
  return model;
}

class CountSkipped final : public Callback {
 public:
  void on_step_end(Trainer&, const StepRecord& record) override {
    num += record.is_skipped ? 1 : 0;
  }
  int num = 0;
};

struct Outcome {
  double first_loss;
  Scores last;
  std::vector<double> variables;
  int num_skipped;
};

Outcome outcome_of(DType dtype, std::optional<LossScaling> loss_scaling = std::nullopt) {
  Sequential model = cnn(dtype);
  Trainer trainer(
      model, Sgd({.learning_rate = 0.02, .momentum = 0.9}), SparseCategoricalCrossentropy{},
      {.metrics = {std::make_shared<SparseCategoricalAccuracy>()}, .loss_scaling = loss_scaling});
  const double first_loss = trainer.evaluate(images()).loss;
  const auto skipped = std::make_shared<CountSkipped>();
  trainer.fit(images(), {.epochs = 6, .batch_size = 16, .seed = 7, .callbacks = {skipped}});
  return {first_loss, trainer.evaluate(images()), values_of(model.variables()), skipped->num};
}

}  // namespace

TEST_CASE("a network trained in 16 bits gets as far as in 32", "[train]") {
  const Communicator world = Communicator::world();
  const Outcome wide = outcome_of(DType::float32);
  REQUIRE_ON_ALL_RANKS(world, wide.last.loss < 0.1 * wide.first_loss);
  // Scales at which nothing overflows, and half a unit in the last place of 1.
  const std::vector<std::tuple<DType, std::optional<LossScaling>, double>> cases{
      {DType::bfloat16, std::nullopt, 0x1p-8},
      {DType::float16, LossScaling{.initial_scale = 1024.0}, 0x1p-11}};
  for (const auto& [dtype, loss_scaling, roundoff] : cases) {
    const Outcome narrow = outcome_of(dtype, loss_scaling);
    REQUIRE_ON_ALL_RANKS(world, std::abs(narrow.first_loss - wide.first_loss) < roundoff);
    REQUIRE_ON_ALL_RANKS(world, std::abs(narrow.last.loss - wide.last.loss) < 0.005);
    REQUIRE_ON_ALL_RANKS(world, narrow.num_skipped == 0);
    REQUIRE_ON_ALL_RANKS(world,
                         is_same_on_all_ranks(world, std::as_bytes(std::span(narrow.variables))));
  }
}

TEST_CASE("a training in float16 finds its scale and loses no more than the first steps",
          "[train]") {
  const Communicator world = Communicator::world();
  const Outcome outcome = outcome_of(DType::float16, LossScaling{.initial_scale = 0x1p18});
  REQUIRE_ON_ALL_RANKS(world, outcome.num_skipped > 0 && outcome.num_skipped < 6);
  REQUIRE_ON_ALL_RANKS(world, outcome.last.loss < 0.15 * outcome.first_loss);
}
