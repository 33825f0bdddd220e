#include "io/checkpoint_models.hpp"

#include "base/bytes.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"

namespace lockstep::testing {
namespace {

BatchNormalizationOptions normalization_of(const TrainingOptions& options) {
  BatchNormalizationOptions normalization{.momentum = 0.9, .synchronized = options.synchronized};
  if (options.group_size > 0) normalization.synchronization_group = BySize{options.group_size};
  normalization.zero_debias_moving_mean = options.zero_debias;
  if (options.renorm) {
    normalization.renorm = true;
    normalization.renorm_clipping = {.rmin = 0.5, .rmax = 2.0, .dmax = 1.0};
  }
  return normalization;
}

// Batch normalization in which some samples weigh more than others.
class WeightedNormalization final : public BatchNormalization {
 public:
  using BatchNormalization::BatchNormalization;

  void forward(const TensorView& input, const MutableTensorView& output,
               const Call& call) override {
    Call weighted = call;
    if (call.mode == Mode::training) {
      weights_.clear();
      for (const std::int64_t sample : call.samples)
        weights_.push_back(0.5F + static_cast<float>(sample % 3));
      weighted.batch_weights = view(weights_, {std::ssize(weights_)});
    }
    BatchNormalization::forward(input, output, weighted);
  }

 private:
  std::vector<float> weights_;
};

Sequential model_of(const TrainingOptions& options) {
  Sequential model({.dtype = options.dtype, .seed = 3}, Strategy(Communicator::world()));
  model.add(Conv2D({.filters = 4, .kernel_size = {3, 3}, .padding = Padding::same}));
  model.add(BatchNormalization(normalization_of(options)));
  model.add(Activation({.function = ActivationFunction::relu}));
  model.add(Flatten());
  model.add(Dropout({.rate = 0.2}));
  model.add(Dense({.units = 6, .kernel_regularizer = l2(1e-3)}));
  model.add(WeightedNormalization(normalization_of(options)));
  model.add(Dense({.units = 4}));
  return model;
}

std::unique_ptr<Optimizer> optimizer_of(const TrainingOptions& options) {
  const LearningRate rate =
      StepDecay{.initial = options.learning_rate, .factor = 0.7, .interval = 3};
  if (options.uses_adam) return std::make_unique<Adam>(AdamOptions{.learning_rate = rate});
  return std::make_unique<Sgd>(SgdOptions{.learning_rate = rate, .momentum = 0.9});
}

}  // namespace

const Dataset& few_images() {
  static const SyntheticImages data({.num_samples = 43, .num_classes = 4, .shape = {6, 6, 2}});
  return data;
}

Training::Training(const TrainingOptions& options) : model(model_of(options)) {
  TrainerOptions trainer_options{.metrics = {std::make_shared<SparseCategoricalAccuracy>()},
                                 .seed = options.seed};
  if (options.dtype == DType::float16)
    trainer_options.loss_scaling = LossScaling{.initial_scale = 8.0, .growth_interval = 4};
  model.build(few_images().input_shape().prepended(1));
  trainer = std::make_unique<Trainer>(model, optimizer_of(options),
                                      std::make_unique<SparseCategoricalCrossentropy>(),
                                      std::move(trainer_options));
}

History Training::run(std::int64_t num_steps, std::vector<std::shared_ptr<Callback>> callbacks) {
  return trainer->fit(few_images(), {.epochs = num_steps,
                                     .batch_size = 10,
                                     .max_steps = num_steps - trainer->num_steps(),
                                     .seed = 7,
                                     .validation = &few_images(),
                                     .callbacks = std::move(callbacks)});
}

std::vector<std::byte> Training::bits() {
  std::vector<std::byte> all;
  const auto add = [&](const TensorView& values) {
    const auto bytes = bytes_of(values);
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  for (const Variable* variable : model.variables()) add(variable->value());
  for (const Optimizer::State& state : trainer->optimizer().state()) add(*state.value);
  return all;
}

}  // namespace lockstep::testing
