// Training on any number of ranks is training on one.

#include <optional>
#include <utility>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/global_average_pool.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

Sequential mlp(const Strategy& strategy) {
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(Dense({.units = 12}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(Dropout({.rate = 0.2}));
  model.add(Dense({.units = 12}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::tanh}));
  model.add(Dense({.units = 4}));
  return model;
}

Sequential cnn(const Strategy& strategy) {
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(Conv2D({.filters = 4, .kernel_size = {3, 3}, .padding = Padding::same}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(MaxPool2D());
  model.add(Conv2D({.filters = 6, .kernel_size = {3, 3}, .padding = Padding::same}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(Flatten());
  model.add(Dense({.units = 4}));
  return model;
}

Sequential resnet(const Strategy& strategy) {
  const BatchNormalizationOptions norm{.momentum = 0.9, .synchronized = true};
  const auto conv = [&](std::int64_t filters, std::int64_t stride, bool is_normalized) {
    return Conv2D({.filters = filters,
                   .kernel_size = {3, 3},
                   .strides = {stride, stride},
                   .padding = Padding::same,
                   .use_bias = false,
                   .normalizer = is_normalized ? std::optional(norm) : std::nullopt});
  };
  const auto add_block = [&](Sequential& model, std::int64_t filters, std::int64_t stride) {
    Residual block({.activation = ActivationFunction::relu});
    block.add_main(conv(filters, stride, true));
    block.add_main(Activation({.function = ActivationFunction::relu}));
    block.add_main(conv(filters, 1, false)).add_main(BatchNormalization(norm));
    if (stride > 1) block.add_shortcut(conv(filters, stride, true));
    model.add(std::move(block));
  };
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(conv(4, 1, true));
  add_block(model, 4, 1);
  add_block(model, 6, 2);
  model.add(GlobalAveragePool());
  model.add(Dense({.units = 4}));
  return model;
}

// Collects the loss of every step.
class Losses final : public Callback {
 public:
  void on_step_end(Trainer&, const StepRecord& record) override {
    values.push_back(record.training.loss);
  }
  std::vector<double> values;
};

struct Outcome {
  std::vector<double> losses;
  std::vector<double> metrics;
  std::vector<double> variables;
  Tensor predictions;
};

// 50 steps; batches of 10 and a last one of 3 or 1, so that with more ranks some have none.
template <class Model>
Outcome outcome_of(Model&& model_of, const Dataset& data, const Strategy& strategy) {
  Sequential model = model_of(strategy);
  Trainer trainer(model,
                  Sgd({.learning_rate = 0.05, .momentum = 0.9, .nesterov = true, .clip_norm = 1.0}),
                  SparseCategoricalCrossentropy{},
                  {.metrics = {std::make_shared<SparseCategoricalAccuracy>()}, .seed = 5});
  const auto losses = std::make_shared<Losses>();
  const History history = trainer.fit(data, {.epochs = 100,
                                             .batch_size = 10,
                                             .max_steps = 50,
                                             .seed = 7,
                                             .validation = &data,
                                             .callbacks = {losses}});
  Outcome outcome{losses->values, {}, values_of(model.variables()), trainer.predict(data, 7)};
  for (const EpochRecord& epoch : history.epochs) {
    outcome.metrics.insert(outcome.metrics.end(),
                           {epoch.training.loss, epoch.training.metrics[0], epoch.validation->loss,
                            epoch.validation->metrics[0]});
  }
  return outcome;
}

template <class Model>
void check_law(Model&& model_of, const Dataset& data) {
  const Strategy world{Communicator::world()};
  const Outcome alone = outcome_of(model_of, data, Strategy());
  const Outcome together = outcome_of(model_of, data, world);
  const Communicator& ranks = world.replicas();
  REQUIRE_ON_ALL_RANKS(ranks, alone.losses.size() == 50);
  REQUIRE_ON_ALL_RANKS(ranks, alone.losses.back() < 0.8 * alone.losses.front());
  REQUIRE_ON_ALL_RANKS(ranks, distance(together.losses, alone.losses) < 1e-9);
  REQUIRE_ON_ALL_RANKS(ranks, distance(together.metrics, alone.metrics) < 1e-9);
  REQUIRE_ON_ALL_RANKS(ranks, distance(together.variables, alone.variables) < 1e-9);
  REQUIRE_ON_ALL_RANKS(ranks, distance(together.predictions.values<double>(),
                                       alone.predictions.values<double>()) < 1e-9);
}

}  // namespace

TEST_CASE("an MLP learns the same on any number of ranks", "[train]") {
  check_law(mlp, SyntheticBlobs({.num_samples = 63, .num_classes = 4, .num_features = 6}));
}

TEST_CASE("a CNN learns the same on any number of ranks", "[train]") {
  check_law(cnn, SyntheticImages({.num_samples = 41, .num_classes = 4, .shape = {6, 6, 2}}));
}

TEST_CASE("a network of residual blocks learns the same on any number of ranks", "[train]") {
  check_law(resnet, SyntheticImages({.num_samples = 41, .num_classes = 4, .shape = {6, 6, 2}}));
}
