#include "layers/normalizer.hpp"

#include <spdlog/fmt/fmt.h>

#include <vector>

#include "base/convert.hpp"
#include "kernels/activation.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/default_name.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

bool names_no_axis(const BatchNormalizationOptions& options) {
  return options.axis == Axes(-1) && options.data_format.empty();
}

}  // namespace

BatchNormalizationOptions normalizer_options_of(BatchNormalizationOptions given,
                                                const AnyActivation& outer_activation,
                                                int channel_axis) {
  if (names_no_axis(given)) given.axis = channel_axis;
  if (is_linear(given.activation)) given.activation = outer_activation;
  given.dtype.reset();  // that of the layer around it, with the rounding of 16 bits behind both
  given.input_shape.reset();
  return given;
}

void create_normalizer(const Layer& outer, InnerLayers& inner,
                       const BatchNormalizationOptions& given,
                       const AnyActivation& outer_activation, int channel_axis,
                       const Shape& shape) {
  if (!is_linear(given.activation) && !is_linear(outer_activation))
    throw ArgumentError(
        fmt::format("layer '{}' and its normalizer both have an activation; give it to one of them",
                    outer.name()));
  if (!names_no_axis(given) && channel_axes_of(given, shape) != std::vector{channel_axis})
    throw ArgumentError(
        fmt::format("the normalizer of layer '{}' names another axis than {}, that of the layer's "
                    "channels; leave axis and data_format out, or name axis {}",
                    outer.name(), channel_axis, channel_axis));
  if (given.dtype && *given.dtype != outer.dtype())
    throw ArgumentError(fmt::format(
        "layer '{}' computes in {}, its normalizer in {}; leave out that of the normalizer",
        outer.name(), name_of(outer.dtype()), name_of(*given.dtype)));
  if (given.input_shape && *given.input_shape != sample_shape_of(shape))
    throw ArgumentError(fmt::format(
        "the normalizer of layer '{}' has the input_shape {}, its input has {}; leave it out",
        outer.name(), to_string(*given.input_shape), to_string(sample_shape_of(shape))));
  inner.create(outer, *inner.all().front(), shape, parameter_dtype_of(outer.dtype()));
}

void normalize(const InnerLayers& inner, const Tensor& product, Tensor& memory,
               const MutableTensorView& output, const Call& call) {
  if (output.dtype() == product.dtype()) return inner.forward_through(0, product, output, call);
  memory.resize(product.shape(), product.dtype());
  inner.forward_through(0, product, memory, call);
  convert(memory, output);
}

void normalize_back(const InnerLayers& inner, Tape& tape, const TensorView& output_gradient,
                    Tensor& product_gradient, Gradients gradients) {
  const DType dtype = parameter_dtype_of(output_gradient.dtype());
  product_gradient.resize(output_gradient.shape(), dtype);
  TensorView gradient = output_gradient;
  if (gradient.dtype() != dtype) {
    convert(gradient, product_gradient);
    gradient = product_gradient;
  }
  inner.backward_through(0, tape, gradient, product_gradient, gradients);
}

}  // namespace lockstep
