#include "stats/moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lockstep {

SumsView sums_in(std::span<double> message) noexcept {
  const std::size_t num_columns = message.size() / 3;
  return {message.first(num_columns), message.subspan(num_columns, num_columns),
          message.last(num_columns)};
}

void Moments::resize(std::size_t num_columns) {
  count.resize(num_columns);
  offset.resize(num_columns);
  variance.resize(num_columns);
}

void compute_moments(const SumsView& sums, Moments& moments) noexcept {
  for (std::size_t c = 0; c < sums.sum.size(); ++c) {
    const double count = sums.count[c];
    const double offset = count > 0.0 ? sums.sum[c] / count : 0.0;
    const double squares = sums.sum_squares[c] - sums.sum[c] * offset;
    moments.count[c] = count;
    moments.offset[c] = offset;
    // std::max would hide a NaN.
    moments.variance[c] = count > 0.0 && !(squares <= 0.0) ? squares / count : 0.0;
  }
}

void spoil_non_finite(Moments& moments) noexcept {
  for (std::size_t c = 0; c < moments.variance.size(); ++c)
    if (!std::isfinite(moments.variance[c]) || !std::isfinite(moments.offset[c]))
      moments.variance[c] = moments.offset[c] = std::numeric_limits<double>::quiet_NaN();
}

bool is_far(const Moments& moments, std::size_t column) noexcept {
  const double offset = moments.offset[column];
  const double variance = moments.variance[column];
  return !std::isfinite(variance) || !(offset * offset <= 0x1p20 * variance);
}

bool is_far_anywhere(const Moments& moments) noexcept {
  for (std::size_t c = 0; c < moments.variance.size(); ++c)
    if (is_far(moments, c)) return true;
  return false;
}

}  // namespace lockstep
