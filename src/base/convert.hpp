// Between the storage types of tensors, and between them and double.

#pragma once

#include <span>

#include "lockstep/base/tensor.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// values = source. The source is floating and has as many elements.
void read_as_double(const TensorView& source, std::span<double> values) noexcept;

/// target = values, rounded to its type. The target is floating and has as many elements.
void write_from_double(std::span<const double> values, const MutableTensorView& target) noexcept;

/// target = source, rounded once where the target's type is narrower. Both are floating and have as
/// many elements.
void convert(const TensorView& source, const MutableTensorView& target) noexcept;

/// `source` as `dtype`: itself where it is that already, else a copy in `memory`. Both dtypes are
/// floating; a null view stays one.
[[nodiscard]] TensorView converted(const TensorView& source, DType dtype, Tensor& memory);

/// The value rounded to a floating type.
[[nodiscard]] double rounded_to(DType dtype, double value) noexcept;

}  // namespace lockstep
