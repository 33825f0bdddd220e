#include "stats/moments.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep {

SumsView sums_in(std::span<double> message) noexcept {
  const std::size_t num_channels = (message.size() - 1) / 2;
  return {message.data(), message.subspan(1, num_channels),
          message.subspan(1 + num_channels, num_channels)};
}

void Moments::resize(std::size_t num_channels) {
  offset.resize(num_channels);
  variance.resize(num_channels);
}

void compute_moments(const SumsView& sums, Moments& moments) noexcept {
  const double count = *sums.count;
  moments.count = count;
  for (std::size_t c = 0; c < sums.sum.size(); ++c) {
    const double offset = count > 0.0 ? sums.sum[c] / count : 0.0;
    const double squares = sums.sum_squares[c] - sums.sum[c] * offset;
    moments.offset[c] = offset;
    // std::max would hide a NaN.
    moments.variance[c] = count > 0.0 && !(squares <= 0.0) ? squares / count : 0.0;
  }
}

bool is_far(const Moments& moments, std::size_t channel) noexcept {
  const double offset = moments.offset[channel];
  const double variance = moments.variance[channel];
  return !std::isfinite(variance) || !(offset * offset <= 0x1p20 * variance);
}

bool is_far_anywhere(const Moments& moments) noexcept {
  for (std::size_t c = 0; c < moments.variance.size(); ++c)
    if (is_far(moments, c)) return true;
  return false;
}

}  // namespace lockstep
