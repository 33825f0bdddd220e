// Moments of samples by their definition.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep::testing {

struct ChannelMoments {
  std::vector<double> count, mean, variance;  ///< [channels]; the variance is biased
};

/// Of rows of channels, computed in long double.
inline ChannelMoments moments_of(std::span<const double> rows, std::size_t num_channels) {
  const std::size_t num_rows = rows.size() / num_channels;
  ChannelMoments moments;
  for (std::size_t c = 0; c < num_channels; ++c) {
    long double mean = 0.0L;
    for (std::size_t row = 0; row < num_rows; ++row) mean += rows[row * num_channels + c];
    mean /= static_cast<long double>(num_rows);
    long double squares = 0.0L;
    for (std::size_t row = 0; row < num_rows; ++row) {
      const long double deviation = rows[row * num_channels + c] - mean;
      squares += deviation * deviation;
    }
    moments.count.push_back(static_cast<double>(num_rows));
    moments.mean.push_back(static_cast<double>(mean));
    moments.variance.push_back(static_cast<double>(squares / static_cast<long double>(num_rows)));
  }
  return moments;
}

}  // namespace lockstep::testing
