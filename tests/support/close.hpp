// How near two lists of numbers are.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/columns.hpp"

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

/// Largest |a - b| over largest |b| of the same channel, over channels that lie as `columns` says;
/// infinity when anything is not finite.
template <class T>
double channel_distance(std::span<const T> a, std::span<const T> b, const Columns& columns) {
  double worst = 0.0;
  for (std::int64_t channel = 0; channel < columns.channels; ++channel) {
    std::vector<T> a_channel, b_channel;
    for (std::int64_t outer = 0; outer < columns.outer; ++outer)
      for (std::int64_t inner = 0; inner < columns.inner; ++inner) {
        const auto i =
            static_cast<std::size_t>((outer * columns.channels + channel) * columns.inner + inner);
        a_channel.push_back(a[i]);
        b_channel.push_back(b[i]);
      }
    worst = std::max(worst, distance(a_channel, b_channel));
  }
  return worst;
}

}  // namespace lockstep::testing
