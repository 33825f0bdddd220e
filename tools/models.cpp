#include "models.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/global_average_pool.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/layers/residual.hpp"

namespace ls = lockstep;

namespace {

ls::BatchNormalizationOptions normalization_of(const TrainOptions& options) {
  return {.momentum = options.bn_momentum,
          .nonfinite = nonfinite_of(options),
          .statistics = options.statistics == "fast" ? ls::Statistics::fast : ls::Statistics::exact,
          .synchronized = options.synchronized};
}

void add_normalized_relu(ls::Sequential& model, const TrainOptions& options) {
  model.add(ls::BatchNormalization(normalization_of(options)));
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

ls::Conv2D normalized_convolution(std::int64_t filters, std::int64_t size, std::int64_t stride,
                                  ls::BatchNormalizationOptions normalization) {
  return ls::Conv2D({.filters = filters,
                     .kernel_size = {size, size},
                     .strides = {stride, stride},
                     .padding = ls::Padding::same,
                     .normalizer = std::move(normalization)});
}

// The first of the two convolutions may skip positions; then the shortcut has to as well.
void add_residual_block(ls::Sequential& model, std::int64_t filters, std::int64_t stride,
                        const TrainOptions& options) {
  const ls::BatchNormalizationOptions normalization = normalization_of(options);
  ls::BatchNormalizationOptions activated = normalization;
  activated.activation = ls::ActivationFunction::relu;
  ls::Residual block({.activation = ls::ActivationFunction::relu});
  block.add_main(normalized_convolution(filters, 3, stride, activated));
  block.add_main(ls::Conv2D({.filters = filters,
                             .kernel_size = {3, 3},
                             .padding = ls::Padding::same,
                             .use_bias = false}));
  block.add_main(ls::BatchNormalization(normalization));
  if (stride > 1) block.add_shortcut(normalized_convolution(filters, 1, stride, normalization));
  model.add(std::move(block));
}

void add_resnet(ls::Sequential& model, const TrainOptions& options) {
  ls::BatchNormalizationOptions activated = normalization_of(options);
  activated.activation = ls::ActivationFunction::relu;
  model.add(normalized_convolution(16, 3, 1, activated));
  add_residual_block(model, 16, 1, options);
  add_residual_block(model, 32, 2, options);
  model.add(ls::GlobalAveragePool());
}

}  // namespace

ls::Sequential model_of(const TrainOptions& options, const ls::Shape& input_shape,
                        std::int64_t num_classes, const ls::Strategy& strategy) {
  if (options.model != "mlp" && input_shape.rank() != 3)
    throw ls::ArgumentError(fmt::format(
        "--model: {} needs images [height, width, channels], and the data has samples of shape "
        "{}; use mlp",
        options.model, ls::to_string(input_shape)));
  ls::Sequential model(
      {.dtype = ls::dtype_of(options.dtype), .seed = options.seed, .name = options.model},
      strategy);
  if (options.model == "mlp")
    add_mlp(model, options);
  else if (options.model == "cnn")
    add_cnn(model, options);
  else
    add_resnet(model, options);
  model.add(ls::Dense({.units = num_classes}));
  return model;
}
