// Batch normalization in place of the bias of a layer, whose only inner layer it is.

#pragma once

#include "layers/inner_layers.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep {

/// Options of the inner layer: as given, with the activation of the layer around it and the axis of
/// its channels where none are given.
[[nodiscard]] BatchNormalizationOptions normalizer_options_of(BatchNormalizationOptions given,
                                                              const AnyActivation& outer_activation,
                                                              int channel_axis);

/// Makes the variables of the normalizer of `outer`. Throws ArgumentError for options that
/// contradict those of the layer around it. `channel_axis` counts from the front of `shape`, that
/// of what is normalized.
void create_normalizer(const Layer& outer, InnerLayers& inner,
                       const BatchNormalizationOptions& given,
                       const AnyActivation& outer_activation, int channel_axis, const Shape& shape);

/// Output of the layer from `product`, which has the dtype that it computes in. `memory` is
/// resized as needed; both stay as they are until backward.
void normalize(const InnerLayers& inner, const Tensor& product, Tensor& memory,
               const MutableTensorView& output, const Call& call);

/// The gradient of the product from that of the output.
void normalize_back(const InnerLayers& inner, Tape& tape, const TensorView& output_gradient,
                    Tensor& product_gradient, Gradients gradients);

}  // namespace lockstep
