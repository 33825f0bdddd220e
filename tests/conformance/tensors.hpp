// Between the values of cases and tensors.

#pragma once

#include <span>
#include <vector>

#include "conformance/case.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep::conformance {

/// target = values, one per element, rounded to its dtype; as boolean, whether they are not 0.
void write(std::span<const double> values, const MutableTensorView& target);

/// A tensor with these values, rounded likewise.
[[nodiscard]] Tensor tensor_of(const Array& array, DType dtype);

/// The elements, exactly.
[[nodiscard]] std::vector<double> values_of(const TensorView& tensor);

}  // namespace lockstep::conformance
