// From merged sums to mean and variance, and from those to moving averages.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

/// Sums of a set of samples about a center K per channel, as they lie in a message. All zeros
/// describe the empty set, and adding two messages describes the union: empty and uneven batches
/// need no code of their own.
struct SumsView {
  double* count;                  ///< number of elements per channel
  std::span<double> sum;          ///< of x - K, [channels]
  std::span<double> sum_squares;  ///< of (x - K)^2, [channels]
};

/// Length of a message for `num_channels` channels.
[[nodiscard]] constexpr std::size_t sums_length(std::size_t num_channels) noexcept {
  return 1 + 2 * num_channels;
}

/// The message, by its parts.
[[nodiscard]] SumsView sums_in(std::span<double> message) noexcept;

/// Mean and biased variance of the set that sums describe; all zero when it is empty.
struct Moments {
  double count = 0.0;
  std::vector<double> offset;    ///< mean - K, kept apart: it does not round as the mean would
  std::vector<double> variance;  ///< >= 0

  void resize(std::size_t num_channels);
};

/// Fills `moments`, which has the size of `sums`:
/// offset = S / W, variance = (Q - S^2 / W) / W.
void compute_moments(const SumsView& sums, Moments& moments) noexcept;

/// True where the center was too far from the mean for the variance to be trusted, or sums
/// overflowed: offset^2 > 2^20 variance, or not finite.
[[nodiscard]] bool is_far(const Moments& moments, std::size_t channel) noexcept;
[[nodiscard]] bool is_far_anywhere(const Moments& moments) noexcept;

/// average * momentum + value * (1 - momentum).
[[nodiscard]] inline double moving_average(double average, double value, double momentum) noexcept {
  return average * momentum + value * (1.0 - momentum);
}

}  // namespace lockstep
