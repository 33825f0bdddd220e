// Windows that move over the two spatial axes of images.

#pragma once

#include <algorithm>
#include <cstdint>

namespace lockstep {

/// The integers [first, last).
struct Interval {
  std::int64_t first;
  std::int64_t last;
};

/// A window along one axis: at position i it covers the elements [i * stride - padding,
/// i * stride - padding + size), at least one of which lies in the input.
struct WindowAxis {
  std::int64_t input;    ///< extent of the input
  std::int64_t output;   ///< number of positions
  std::int64_t size;     ///< extent of the window
  std::int64_t stride;   ///< from one position to the next
  std::int64_t padding;  ///< in front of the input

  friend bool operator==(const WindowAxis&, const WindowAxis&) = default;
};

struct Window {
  WindowAxis vertical;
  WindowAxis horizontal;

  friend bool operator==(const Window&, const Window&) = default;
};

/// ceil(dividend / divisor), 0 for negative dividends; the divisor is positive.
[[nodiscard]] inline std::int64_t ceil_quotient(std::int64_t dividend, std::int64_t divisor) {
  return dividend <= 0 ? 0 : (dividend - 1) / divisor + 1;
}

/// Elements of the input that the window covers at `position`.
[[nodiscard]] inline Interval covered_at(const WindowAxis& axis, std::int64_t position) {
  const std::int64_t first = position * axis.stride - axis.padding;
  return {std::max<std::int64_t>(first, 0), first + std::min(axis.size, axis.input - first)};
}

/// Positions at which element `offset` of the window lies in the input; last <= first if none.
[[nodiscard]] inline Interval positions_inside(const WindowAxis& axis, std::int64_t offset) {
  const std::int64_t missing = axis.padding - offset;
  return {ceil_quotient(missing, axis.stride),
          std::min(axis.output, ceil_quotient(missing + axis.input, axis.stride))};
}

/// True when the window never leaves the input.
[[nodiscard]] inline bool is_inside(const WindowAxis& axis) {
  return axis.padding == 0 && (axis.output - 1) * axis.stride + axis.size <= axis.input;
}

/// True when the window is one element that visits all others in turn.
[[nodiscard]] inline bool is_identity(const WindowAxis& axis) {
  return axis.size == 1 && axis.stride == 1;
}

}  // namespace lockstep
