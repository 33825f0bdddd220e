#include "models.hpp"

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

}  // namespace

ls::Sequential model_of(const TrainOptions& options, const ls::Shape& input_shape,
                        std::int64_t num_classes, const ls::Strategy& strategy) {
  ls::Sequential model({.seed = options.seed, .name = options.model}, strategy);
  if (options.model == "mlp") {
    model.add(ls::Flatten({.input_shape = input_shape}));
    for (int i = 0; i < 2; ++i) {
      model.add(ls::Dense({.units = 64}));
      add_normalized_relu(model, options);
    }
  } else {
    if (input_shape.rank() != 3)
      throw ls::ArgumentError("--model cnn needs images [height, width, channels]; the data has "
                              "samples of shape " + ls::to_string(input_shape) + ", use --model mlp");
    for (const std::int64_t filters : {16, 32}) {
      ls::Conv2DOptions convolution{
          .filters = filters, .kernel_size = {3, 3}, .padding = ls::Padding::same};
      if (filters == 16) convolution.input_shape = input_shape;
      model.add(ls::Conv2D(convolution));
      add_normalized_relu(model, options);
    }
    model.add(ls::MaxPool2D());
    model.add(ls::Flatten());
  }
  model.add(ls::Dense({.units = num_classes}));
  return model;
}
