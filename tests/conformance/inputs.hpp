// What one rank gives the layer in a step.

#pragma once

#include "conformance/case.hpp"
#include "conformance/cut.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep::conformance {

/// Tensors of one rank; without elements and of shape [0] where the step has none.
struct Inputs {
  Tensor x, dy, mask, batch_weights;
  Adjustment adjustment;  ///< neutral where the step has none
};

/// The rank's part of an array that belongs to an input of shape `input`: all of it unless the
/// array has the extent of the input along the cut axis.
[[nodiscard]] Array local_part_of(const StoredArray& array, const Shape& input, const Cut& cut,
                                  const Communicator& world);

/// The rank's part of the step. Images are of `dtype`, the other numbers of `precision`.
[[nodiscard]] Inputs inputs_of(const Step& step, const Cut& cut, const Communicator& world,
                               DType dtype, DType precision);

}  // namespace lockstep::conformance
