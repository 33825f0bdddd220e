#include "models.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/max_pool2d.hpp"

namespace ls = lockstep;

namespace {

void add_normalized_relu(ls::Sequential& model, const TrainOptions& options) {
  model.add(ls::BatchNormalization(
      {.momentum = options.bn_momentum, .synchronized = options.synchronized}));
  model.add(ls::Activation({.function = ls::ActivationFunction::relu}));
}

void add_mlp(ls::Sequential& model, const TrainOptions& options) {
  model.add(ls::Flatten());
  for (int i = 0; i < 2; ++i) {
    model.add(ls::Dense({.units = 64}));
    add_normalized_relu(model, options);
  }
}

void add_cnn(ls::Sequential& model, const TrainOptions& options) {
  for (const std::int64_t filters : {16, 32}) {
    model.add(
        ls::Conv2D({.filters = filters, .kernel_size = {3, 3}, .padding = ls::Padding::same}));
    add_normalized_relu(model, options);
  }
  model.add(ls::MaxPool2D());
  model.add(ls::Flatten());
}

}  // namespace

ls::Sequential model_of(const TrainOptions& options, const ls::Shape& input_shape,
                        std::int64_t num_classes, const ls::Strategy& strategy) {
  if (options.model == "cnn" && input_shape.rank() != 3)
    throw ls::ArgumentError(fmt::format(
        "--model: cnn needs images [height, width, channels], and the data has samples of shape "
        "{}; use mlp",
        ls::to_string(input_shape)));
  ls::Sequential model(
      {.dtype = ls::dtype_of(options.dtype), .seed = options.seed, .name = options.model},
      strategy);
  if (options.model == "mlp")
    add_mlp(model, options);
  else
    add_cnn(model, options);
  model.add(ls::Dense({.units = num_classes}));
  return model;
}
