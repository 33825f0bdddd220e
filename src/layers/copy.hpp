// Copies elements of tensors that differ in shape only.

#pragma once

#include <cstddef>
#include <cstring>

#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// Copies all elements; both views have as many and the same dtype, and may be the same memory.
inline void copy_elements(const TensorView& source, const MutableTensorView& target) {
  const auto num_elements = static_cast<std::size_t>(source.num_elements());
  if (num_elements > 0 && source.data() != target.data())
    std::memcpy(target.data(), source.data(), num_elements * size_of(source.dtype()));
}

}  // namespace lockstep
