// Extents of a tensor.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Extents along the axes of a row-major tensor, axis 0 first. A shape without axes is a scalar.
/// Holds up to 16 axes in place, so that views can be copied without touching the heap.
class LOCKSTEP_EXPORT Shape {
 public:
  static constexpr int max_rank = 16;

  Shape() = default;
  /// Throws ArgumentError above max_rank axes; extents are judged where the shape is used.
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] std::int64_t operator[](int axis) const noexcept {
    return extents_[static_cast<std::size_t>(axis)];
  }
  [[nodiscard]] const std::int64_t* begin() const noexcept { return extents_.data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept { return extents_.data() + rank_; }

  /// True when no extent is negative and the number of elements fits std::int64_t.
  [[nodiscard]] bool is_valid() const noexcept;

  /// Product of the extents, 1 for a scalar; requires is_valid().
  [[nodiscard]] std::int64_t num_elements() const noexcept;

  /// The same shape with another extent along `axis`.
  [[nodiscard]] Shape with(int axis, std::int64_t extent) const;

  /// The shape with one more axis in front.
  [[nodiscard]] Shape prepended(std::int64_t extent) const;

  /// The shape of one element along axis 0; requires rank() >= 1.
  [[nodiscard]] Shape without_first() const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// "[32, 8, 8, 1]".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const Shape& shape);

}  // namespace lockstep
