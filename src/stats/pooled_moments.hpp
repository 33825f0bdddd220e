// From the moments of disjoint sets of samples to those of their union.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

/// A set of samples per channel, [channels] each. What has a count of 0 is ignored, whatever the
/// rest says.
struct MomentsView {
  std::span<const double> count;
  std::span<const double> mean;
  std::span<const double> variance;  ///< biased
};

/// One set of samples; a count of 0 means that the rest says nothing.
struct SetMoments {
  double count = 0.0;
  double mean = 0.0;
  double variance = 0.0;  ///< biased
};

/// Moments of the union of two sets, for w = n_b / (n_a + n_b) and d = m_b - m_a:
/// M = m_a + w d, V = (1 - w) v_a + w v_b + w (1 - w) d^2.
/// Chan, Golub and LeVeque: Algorithms for computing the sample variance, 1983.
[[nodiscard]] SetMoments union_of(const SetMoments& a, const SetMoments& b) noexcept;

/// Moments of the union, for sets n, m, v:
/// N = sum n, M = sum n m / N, V = sum n (v + (m - M)^2) / N.
/// All terms of V are >= 0, so nothing cancels, however far from 0 the means are.
///
/// The sums may be taken over sets on many ranks: adding the arrays of two pools after each of the
/// two steps describes the union of their sets.
class PooledMoments {
 public:
  explicit PooledMoments(std::size_t num_channels);

  /// The first step: counts and means, of every set.
  void add_mean(const MomentsView& set) noexcept;
  [[nodiscard]] std::span<double> mean_sums() noexcept { return mean_sums_; }

  /// The second step, with mean_sums() of all sets: deviations from the mean, of every set.
  void add_variance(const MomentsView& set) noexcept;
  [[nodiscard]] std::span<double> variance_sums() noexcept { return variance_sums_; }

  /// Of the union. Mean and variance are 0 where the count is.
  [[nodiscard]] double count(std::size_t channel) const noexcept { return mean_sums_[channel]; }
  [[nodiscard]] double mean(std::size_t channel) const noexcept;
  [[nodiscard]] double variance(std::size_t channel) const noexcept;

 private:
  std::vector<double> mean_sums_;      // n, then n m, [2 * channels]
  std::vector<double> variance_sums_;  // n (v + (m - M)^2), [channels]
};

}  // namespace lockstep
