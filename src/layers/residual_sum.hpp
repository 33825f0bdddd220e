// The sum of two branches and what is applied to it.

#pragma once

#include "layers/batch_normalization_record.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

// All tensors have one shape and one floating dtype; sums are in double and rounded once.

/// y = activation(a + b); y may be a.
void add(const TensorView& a, const TensorView& b, const FinalActivation& activation,
         const MutableTensorView& y);

/// The gradient of a and of b, from that of y.
void add_back(const TensorView& a, const TensorView& b, const FinalActivation& activation,
              const TensorView& y_gradient, const MutableTensorView& gradient);

}  // namespace lockstep
