// How near two lists of numbers are.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace lockstep::testing {

/// Largest |a - b| over largest |b|; infinity when sizes differ or anything is not finite.
template <class A, class B>
double distance(const A& a, const B& b) {
  if (std::size(a) != std::size(b)) return INFINITY;
  double difference = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < std::size(b); ++i) {
    const double gap = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!std::isfinite(gap)) return INFINITY;
    difference = std::max(difference, gap);
    scale = std::max(scale, std::abs(static_cast<double>(b[i])));
  }
  return difference == 0.0 ? 0.0 : difference / std::max(scale, 1e-300);
}

}  // namespace lockstep::testing
