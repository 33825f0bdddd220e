// Axes of diagrams: from values to places and readable ticks.

#pragma once

#include <span>
#include <vector>

namespace lockstep {

/// The stretch of values that an axis shows.
struct Axis {
  double minimum = 0.0;
  double maximum = 1.0;
  std::vector<double> ticks;  ///< within the stretch, multiples of 1, 2 or 5 times a power of ten

  /// 0 at the minimum, 1 at the maximum.
  [[nodiscard]] double position_of(double value) const noexcept {
    return (value - minimum) / (maximum - minimum);
  }
};

/// Finite, and small enough that differences are too.
[[nodiscard]] bool can_be_drawn(double value) noexcept;

/// An axis from the least to the greatest value. All values can be drawn. Its ticks are whole
/// numbers when the values are.
[[nodiscard]] Axis tight_axis(std::span<const double> values);

/// An axis that begins and ends with a tick.
[[nodiscard]] Axis round_axis(std::span<const double> values);

}  // namespace lockstep
