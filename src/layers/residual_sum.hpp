// The sum of two branches and what is applied to it.

#pragma once

#include "lockstep/base/tensor_view.hpp"
#include "lockstep/kernels/activation_function.hpp"

namespace lockstep {

// All tensors have one shape and one floating dtype; sums are in double and rounded once.

/// y = activation(a + b); y may be a. `negative_slope` is that of leaky_relu.
void add(const TensorView& a, const TensorView& b, const AnyActivation& activation,
         double negative_slope, const MutableTensorView& y);

/// target += values.
void add_to(const MutableTensorView& target, const TensorView& values);

/// The gradient of a and of b in add(), from that of y.
void add_back(const TensorView& a, const TensorView& b, const AnyActivation& activation,
              double negative_slope, const TensorView& y_gradient,
              const MutableTensorView& gradient);

}  // namespace lockstep
