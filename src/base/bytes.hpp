// The memory behind views, as bytes.

#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// Of a tensor. Throws ArgumentError for a shape that none can have.
[[nodiscard]] std::size_t num_bytes_of(const Shape& shape, DType dtype);

[[nodiscard]] inline std::size_t num_bytes_of(const TensorView& values) noexcept {
  return static_cast<std::size_t>(values.num_elements()) * size_of(values.dtype());
}

[[nodiscard]] inline std::span<const std::byte> bytes_of(const TensorView& values) noexcept {
  return {static_cast<const std::byte*>(values.data()), num_bytes_of(values)};
}
[[nodiscard]] inline std::span<std::byte> bytes_of(const MutableTensorView& values) noexcept {
  return {static_cast<std::byte*>(values.data()), num_bytes_of(values)};
}

/// target = source, of the same dtype and number of elements.
inline void copy_bytes(const TensorView& source, const MutableTensorView& target) noexcept {
  const std::size_t num_bytes = num_bytes_of(source);
  if (num_bytes > 0) std::memcpy(target.data(), source.data(), num_bytes);
}

}  // namespace lockstep
