// When a number is another one than expected.

#pragma once

#include <cmath>

/// NaN always is.
[[nodiscard]] inline bool is_off(double found, double expected, double margin) noexcept {
  return !(std::abs(found - expected) <= margin);
}

/// The margin grows with what is expected.
[[nodiscard]] inline bool is_wrong(double found, double expected, double tolerance,
                                   double slack = 0.0) noexcept {
  return is_off(found, expected, tolerance * (1.0 + std::abs(expected)) + slack);
}
