#include "lockstep/layers/conv2d.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "kernels/channels.hpp"
#include "kernels/convolution.hpp"
#include "layers/compute.hpp"
#include "layers/deliver.hpp"
#include "layers/input_tape.hpp"
#include "layers/window.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

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
      options_(std::move(options)) {}

Variable& Conv2D::kernel() {
  if (kernel_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no kernel before it is built", name()));
  return *kernel_;
}

Variable& Conv2D::bias() {
  if (bias_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no bias: {}", name(),
                                 options_.use_bias ? "it is not built" : "use_bias is false"));
  return *bias_;
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

std::unique_ptr<Tape> Conv2D::make_tape() const { return std::make_unique<InputTape<Conv2D>>(); }

void Conv2D::do_create(const Shape& input_shape) {
  kernel_ = bias_ = nullptr;
  static_cast<void>(output_shape(input_shape));  // judges options and shape
  const std::int64_t channels = image_extents_of(input_shape, options_.data_format).channels;
  const Shape kernel_shape{options_.kernel_size.height, options_.kernel_size.width, channels,
                           options_.filters};
  Variable& kernel =
      add_variable("kernel", kernel_shape, options_.kernel_initializer, VariableRole::parameter);
  penalize(kernel, options_.kernel_regularizer, options_.kernel_constraint);
  if (options_.use_bias) {
    bias_ = &add_variable("bias", {options_.filters}, options_.bias_initializer,
                          VariableRole::parameter);
    penalize(*bias_, options_.bias_regularizer, options_.bias_constraint);
  }
  kernel_ = &kernel;
}

void Conv2D::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  const Convolution convolution = convolution_of(options_, input.shape());
  buffer_.resize({buffer_size_of(convolution)}, parameter_dtype_of(dtype()));
  record_input(*this, call, input);
  compute(input, output, [&]<class T>(const T* images, T* results) {
    convolve<T>(convolution, images, kernel().value().values<T>().data(), results,
                buffer_.values<T>().data());
    if (options_.use_bias)
      add_to_channels<T>(columns_of(output.shape(), options_.data_format),
                         bias().value().values<T>().data(), results);
  });
  note_output(output);
}

void Conv2D::backward(Tape& tape, const TensorView& output_gradient,
                      const MutableTensorView& input_gradient, Gradients gradients) {
  const TensorView& input = recorded_input(*this, tape);
  Variable& weights = kernel();
  check_gradients(input.shape(), output_gradient, input_gradient);
  require_same_scope(weights, gradients, GradientScope::local);
  if (options_.use_bias) require_same_scope(bias(), gradients, GradientScope::local);
  const Convolution convolution = convolution_of(options_, input.shape());
  buffer_.resize({buffer_size_of(convolution)}, parameter_dtype_of(dtype()));
  bias_sums_.assign(static_cast<std::size_t>(options_.filters), 0.0);
  compute(input, output_gradient, input_gradient,
          [&]<class T>(const T* images, const T* result_gradients, T* image_gradients) {
            T* const buffer = buffer_.values<T>().data();
            convolution_kernel_gradient(
                convolution, images, result_gradients, weights.grad().values<T>().data(),
                gradients == Gradients::overwrite ? Result::overwrite : Result::accumulate, buffer);
            if (!input_gradient.is_null())
              convolution_image_gradient<T>(convolution, weights.value().values<T>().data(),
                                            result_gradients, image_gradients, buffer);
            if (options_.use_bias)
              add_channel_sums(columns_of(output_gradient.shape(), options_.data_format),
                               result_gradients, bias_sums_.data());
          });
  weights.set_gradient_scope(GradientScope::local);
  if (options_.use_bias) deliver(bias_sums_, gradients, bias());
}

}  // namespace lockstep
