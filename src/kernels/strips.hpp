// How kernels walk through [outer, channels, inner]: rows of elements under fixed coefficients.

#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/columns.hpp"

namespace lockstep {

/// Rows of `width` consecutive elements, one every `stride`. Element j of every row belongs to
/// channel first_channel + j / inner, modulo the channels.
struct Strip {
  std::int64_t first;
  std::int64_t num_rows;
  std::int64_t stride;
  std::int64_t width;
  std::int64_t first_channel;
};

/// Coefficients and sums of a row stay in the first-level cache.
inline constexpr std::int64_t max_strip_width = 1024;
/// Longer runs of one channel are worth a loop of their own.
inline constexpr std::int64_t max_inner_of_strips = 128;

/// Several periods of all channels make a row, so that vectors of `lanes` elements fit: C = 3 makes
/// rows of 48. Rows have at least `min_width` elements where there are as many.
template <class Visit>
void for_each_merged_strip(const Columns& columns, std::int64_t lanes, std::int64_t min_width,
                           Visit&& visit) {
  const std::int64_t period = columns.channels * columns.inner;
  std::int64_t count = std::min(lanes / std::gcd(period, lanes), max_strip_width / period);
  if (count * period < min_width) count *= min_width / (count * period);
  count = std::min(count, columns.outer);
  const std::int64_t width = count * period;
  const std::int64_t num_rows = columns.outer / count;
  visit(Strip{0, num_rows, width, width, 0});
  const std::int64_t rest = (columns.outer - num_rows * count) * period;
  if (rest > 0) visit(Strip{num_rows * width, 1, rest, rest, 0});
}

/// Calls visit(Strip) until every element was in one. Requires inner <= max_inner_of_strips.
template <class Visit>
void for_each_strip(const Columns& columns, std::int64_t lanes, std::int64_t min_width,
                    Visit&& visit) {
  const auto& [outer, channels, inner] = columns;
  if (outer * channels * inner == 0) return;
  if (channels * inner <= max_strip_width)
    return for_each_merged_strip(columns, lanes, min_width, visit);
  const std::int64_t unit = lanes / std::gcd(inner, lanes);  // channels that fill whole vectors
  std::int64_t most = max_strip_width / inner;
  if (most >= unit) most -= most % unit;
  const std::int64_t num_strips = (channels + most - 1) / most;
  std::int64_t width = (channels + num_strips - 1) / num_strips;
  if (most >= unit) width = (width + unit - 1) / unit * unit;
  for (std::int64_t c = 0; c < channels; c += width)
    visit(Strip{c * inner, outer, channels * inner, std::min(width, channels - c) * inner, c});
}

}  // namespace lockstep
