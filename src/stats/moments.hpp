// From merged sums to mean and variance, and from those to moving averages.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

/// Sums of sets of elements about a center K per column, as they lie in a message. All zeros
/// describe empty sets, and adding two messages describes the unions: empty and uneven batches
/// need no code of their own. Counts are per column since a mask may hide whole channels.
struct SumsView {
  std::span<double> count;        ///< number of elements, or their total weight, [columns]
  std::span<double> sum;          ///< of x - K, [columns]
  std::span<double> sum_squares;  ///< of (x - K)^2, [columns]
};

/// Length of a message for `num_columns` columns.
[[nodiscard]] constexpr std::size_t sums_length(std::size_t num_columns) noexcept {
  return 3 * num_columns;
}

/// The message, by its parts.
[[nodiscard]] SumsView sums_in(std::span<double> message) noexcept;

/// Mean and biased variance of the sets that sums describe; zero where one is empty.
struct Moments {
  std::vector<double> count;
  std::vector<double> offset;    ///< mean - K, kept apart: it does not round as the mean would
  std::vector<double> variance;  ///< >= 0

  void resize(std::size_t num_columns);
};

/// Fills `moments`, which has the size of `sums`:
/// offset = S / W, variance = (Q - S^2 / W) / W.
void compute_moments(const SumsView& sums, Moments& moments) noexcept;

/// Makes NaN of moments that are not finite: 1 / sqrt(infinity) would be 0.
void spoil_non_finite(Moments& moments) noexcept;

/// True where the center was too far from the mean for the variance to be trusted, or sums
/// overflowed: offset^2 > 2^20 variance, or not finite.
[[nodiscard]] bool is_far(const Moments& moments, std::size_t column) noexcept;
[[nodiscard]] bool is_far_anywhere(const Moments& moments) noexcept;

/// average * momentum + value * (1 - momentum).
[[nodiscard]] inline double moving_average(double average, double value, double momentum) noexcept {
  return average * momentum + value * (1.0 - momentum);
}

}  // namespace lockstep
