// Two tensors in turns, for values each of which is made of the one before.

#pragma once

#include <array>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The one of two tensors that gets what `layer` makes of `source`, forward or backward, resized:
/// that which holds the source where the layer works in place, else one that does not.
[[nodiscard]] inline Tensor& target_in(std::array<Tensor, 2>& turns, const Layer& layer,
                                       const TensorView& source, const Shape& shape, DType dtype) {
  const bool is_in_first = source.data() == turns[0].data();
  const bool is_in_place = (is_in_first || source.data() == turns[1].data()) &&
                           layer.works_in_place() && source.dtype() == dtype &&
                           source.num_elements() == shape.num_elements();
  Tensor& target = turns[is_in_first != is_in_place ? 1 : 0];
  target.resize(shape, dtype);
  return target;
}

}  // namespace lockstep
