// Whether numbers are those that a case expects.

#pragma once

#include <span>
#include <string>

#include "conformance/case.hpp"

namespace lockstep::conformance {

struct Comparison {
  double worst = 0.0;     ///< largest deviation in units of its tolerance
  std::string complaint;  ///< what is wrong in words; empty: nothing
};

/// Compares elementwise. Any non-finite value is right where NaN is expected, and infinity where
/// the same infinity is.
[[nodiscard]] Comparison compare(std::span<const double> got, std::span<const double> expected,
                                 const Tolerance& tolerance);

}  // namespace lockstep::conformance
