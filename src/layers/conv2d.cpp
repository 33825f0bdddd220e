#include "lockstep/layers/conv2d.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "kernels/channels.hpp"
#include "kernels/convolver.hpp"
#include "layers/compute.hpp"
#include "layers/deliver.hpp"
#include "layers/input_tape.hpp"
#include "layers/normalizer.hpp"
#include "layers/window.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

struct Conv2DTape final : InputTape<Conv2D> {
  Tensor product;  // input * kernel, where a normalizer follows
  Tensor product_gradient;
};

Conv2DTape& own_tape(const Conv2D& layer, Tape& tape) {
  return static_cast<Conv2DTape&>(input_tape_of(layer, tape));
}

int channel_axis_of(DataFormat data_format) { return data_format == DataFormat::nhwc ? 3 : 1; }

Window window_of(const Conv2DOptions& options, const ImageExtents& images) {
  return window_of(images, "kernel_size", options.kernel_size, options.strides, options.padding);
}

Convolution convolution_of(const Conv2DOptions& options, const Shape& input_shape) {
  const ImageExtents images = image_extents_of(input_shape, options.data_format);
  return {.patches = {.window = window_of(options, images),
                      .channels = images.channels,
                      .order = options.data_format == DataFormat::nhwc ? ChannelOrder::last
                                                                       : ChannelOrder::first},
          .num_images = images.samples,
          .num_filters = options.filters};
}

Columns columns_of(const Shape& output_shape, DataFormat data_format) {
  const ImageExtents images = image_extents_of(output_shape, data_format);
  const std::int64_t num_positions = images.height * images.width;
  if (data_format == DataFormat::nhwc) return {images.samples * num_positions, images.channels, 1};
  return {images.samples, images.channels, num_positions};
}

}  // namespace

Conv2D::Conv2D(Conv2DOptions options)
    : Layer({.type = "Conv2D",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype,
             .trainable = options.trainable,
             .scope = options.scope}),
      options_(std::move(options)) {
  if (!options_.normalizer) return;
  normalizer_ = &inner().make<BatchNormalization>(
      *this, normalizer_options_of(*options_.normalizer, ActivationFunction::linear,
                                   channel_axis_of(options_.data_format)));
}

Conv2D::~Conv2D() = default;
Conv2D::Conv2D(Conv2D&&) noexcept = default;
Conv2D& Conv2D::operator=(Conv2D&&) noexcept = default;

Variable& Conv2D::kernel() {
  if (kernel_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no kernel before it is built", name()));
  return *kernel_;
}

Variable& Conv2D::bias() {
  if (bias_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no bias: {}", name(),
                                 normalizer_ != nullptr ? "it has a normalizer"
                                 : options_.use_bias    ? "it is not built"
                                                        : "use_bias is false"));
  return *bias_;
}

BatchNormalization& Conv2D::normalizer() const {
  if (normalizer_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no normalizer; give .normalizer", name()));
  return *normalizer_;
}

Shape Conv2D::output_shape(const Shape& input_shape) const {
  if (options_.filters < 1)
    throw ArgumentError(fmt::format("expected filters of at least 1, got {}", options_.filters));
  ImageExtents images = image_extents_of(input_shape, options_.data_format);
  if (kernel_ != nullptr && images.channels != kernel_->shape()[2])
    throw ArgumentError(fmt::format("expected images of {} channels, got {}", kernel_->shape()[2],
                                    images.channels));
  const Window window = window_of(options_, images);
  return shape_of(
      {images.samples, window.vertical.output, window.horizontal.output, options_.filters},
      options_.data_format);
}

std::unique_ptr<Tape> Conv2D::make_tape() const {
  auto tape = std::make_unique<Conv2DTape>();
  equip(*tape);
  return tape;
}

void Conv2D::do_create(const Shape& input_shape) {
  kernel_ = bias_ = nullptr;
  const Shape shape = output_shape(input_shape);  // judges options and shape
  const std::int64_t channels = image_extents_of(input_shape, options_.data_format).channels;
  const Shape kernel_shape{options_.kernel_size.height, options_.kernel_size.width, channels,
                           options_.filters};
  Variable& kernel =
      add_variable("kernel", kernel_shape, options_.kernel_initializer, VariableRole::parameter);
  penalize(kernel, options_.kernel_regularizer, options_.kernel_constraint);
  if (normalizer_ != nullptr) {
    create_normalizer(*this, inner(), *options_.normalizer, ActivationFunction::linear,
                      channel_axis_of(options_.data_format), shape);
  } else if (options_.use_bias) {
    bias_ = &add_variable("bias", {options_.filters}, options_.bias_initializer,
                          VariableRole::parameter);
    penalize(*bias_, options_.bias_regularizer, options_.bias_constraint);
  }
  convolver_ = std::make_unique<Convolver>();
  kernel_ = &kernel;
}

void Conv2D::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  if (normalizer_ == nullptr) return transform(input, output, call);
  inner().forward(*this, call, [&](const Call& own) { transform(input, output, own); });
}

void Conv2D::transform(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  const Convolution convolution = convolution_of(options_, input.shape());
  record_input(*this, call, input);
  const bool is_normalized = normalizer_ != nullptr;
  MutableTensorView target = output;
  if (is_normalized) {
    Tensor& product = own_tape(*this, *call.tape).product;
    product.resize(output.shape(), parameter_dtype_of(dtype()));
    target = product;
  }
  compute(input, target, [&]<class T>(const T* images, T* results) {
    const T* const bias = bias_ == nullptr ? nullptr : bias_->value().values<T>().data();
    convolver_->convolve(convolution, images, kernel().value().values<T>().data(), bias, results);
  });
  if (is_normalized) {
    Conv2DTape& tape = own_tape(*this, *call.tape);
    normalize(inner(), tape.product, tape.product_gradient, output, call);
  }
  note_output(output);
}

void Conv2D::backward(Tape& tape, const TensorView& output_gradient,
                      const MutableTensorView& input_gradient, Gradients gradients) {
  const auto run = [&] { differentiate(tape, output_gradient, input_gradient, gradients); };
  if (normalizer_ == nullptr) return run();
  inner().backward(*this, tape, run);
}

void Conv2D::differentiate(Tape& tape, const TensorView& output_gradient,
                           const MutableTensorView& input_gradient, Gradients gradients) {
  const TensorView& input = recorded_input(*this, tape);
  Variable& weights = kernel();
  check_gradients(input.shape(), output_gradient, input_gradient);
  require_same_scope(weights, gradients, GradientScope::local);
  if (bias_ != nullptr) require_same_scope(*bias_, gradients, GradientScope::local);
  const Convolution convolution = convolution_of(options_, input.shape());
  bias_sums_.assign(static_cast<std::size_t>(options_.filters), 0.0);
  TensorView upper = output_gradient;
  if (normalizer_ != nullptr) {
    Tensor& product_gradient = own_tape(*this, tape).product_gradient;
    normalize_back(inner(), tape, output_gradient, product_gradient, gradients);
    upper = product_gradient;
  }
  compute(input, upper, input_gradient,
          [&]<class T>(const T* images, const T* result_gradients, T* image_gradients) {
            convolver_->kernel_gradient(
                convolution, images, result_gradients, weights.grad().values<T>().data(),
                gradients == Gradients::overwrite ? Result::overwrite : Result::accumulate);
            if (!input_gradient.is_null())
              convolver_->image_gradient<T>(convolution, weights.value().values<T>().data(),
                                            result_gradients, image_gradients);
            if (bias_ != nullptr)
              add_channel_sums(columns_of(output_gradient.shape(), options_.data_format),
                               result_gradients, bias_sums_.data());
          });
  weights.set_gradient_scope(GradientScope::local);
  if (bias_ != nullptr) deliver(bias_sums_, gradients, *bias_);
}

}  // namespace lockstep
