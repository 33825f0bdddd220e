// Sums per channel as integers: their grids, their words in a message, and what they mean.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/fixed_point.hpp"
#include "stats/moments.hpp"

namespace lockstep {

/// Several sums per channel that cross the ranks together.
///
/// Every sum has two words per channel, the low 40 bits of the integer and the rest, and those that
/// are measured a third one. In front of all stand how many ranks had a term off its grid, how many
/// rounded terms to coarse steps, and the number of samples.
class ExactSums {
 public:
  ExactSums(std::initializer_list<TermKind> kinds, std::size_t num_channels);

  [[nodiscard]] static std::size_t num_words(std::initializer_list<TermKind> kinds,
                                             std::size_t num_channels) noexcept;
  [[nodiscard]] std::size_t num_sums() const noexcept { return local_.size(); }
  [[nodiscard]] std::size_t num_channels() const noexcept { return num_channels_; }

  /// Empties the sums; `exponents` [sums * channels] are those of their grids.
  void reset(std::span<const std::int64_t> exponents);
  /// The sums of this rank.
  [[nodiscard]] FixedPointSums& local(std::size_t sum) noexcept { return local_[sum]; }

  /// Terms were rounded to coarse steps only.
  void note_coarse_terms() noexcept { has_coarse_terms_ = true; }

  /// This rank's message for `num_samples` samples.
  void write(std::int64_t num_samples, std::span<std::int64_t> words) noexcept;
  /// Takes over what all ranks' messages add up to.
  void read(std::span<const std::int64_t> words) noexcept;

  // Of what was read.

  [[nodiscard]] std::int64_t num_samples() const noexcept { return num_samples_; }
  [[nodiscard]] bool has_outside() const noexcept { return has_outside_; }
  /// A sum, exact but for the rounding of its terms and of the result.
  [[nodiscard]] long double value(std::size_t sum, std::size_t channel) const noexcept;
  /// What rounding its terms to coarse steps, to fine ones, or to what they were rounded to may
  /// have done to it.
  [[nodiscard]] long double coarse_error(std::size_t sum, std::size_t channel) const noexcept;
  [[nodiscard]] long double fine_error(std::size_t sum, std::size_t channel) const noexcept;
  [[nodiscard]] long double error(std::size_t sum, std::size_t channel) const noexcept;
  /// Of a measured sum: the sum of magnitudes, at least a coarse step of magnitudes if any term is
  /// not 0.
  [[nodiscard]] double magnitude(std::size_t sum, std::size_t channel) const noexcept;

 private:
  [[nodiscard]] std::size_t index(std::size_t sum, std::size_t channel) const noexcept {
    return sum * num_channels_ + channel;
  }

  std::size_t num_channels_;
  std::vector<FixedPointSums> local_;
  std::vector<std::int64_t> exponents_;  // [sums * channels], as those below
  std::vector<std::int64_t> lows_, highs_;
  std::vector<std::int64_t> magnitudes_;
  std::int64_t num_samples_ = 0;
  bool has_outside_ = false;
  bool has_coarse_terms_ = false;  // of this rank, or of any once sums were read
};

/// The smallest e with |value| < 2^e.
[[nodiscard]] std::int64_t exponent_above(double value) noexcept;

/// The sums of w, w (x - K) and w (x - K)^2, in this order.
namespace moment_sums {
enum : std::size_t { count, sum, sum_squares, num };
}
/// Those of a layer that has seen nothing: for elements of a size between some 1/30 and 100.
inline constexpr std::int64_t first_moment_exponents[moment_sums::num] = {24, 20, 24};

/// As compute_moments(sums, moments), about centers that are the same on all ranks.
void compute_moments(const ExactSums& sums, Moments& moments) noexcept;

/// True where rounding may have changed the variance by more than 2^-18 of itself, or the count.
[[nodiscard]] bool is_coarse(const ExactSums& sums, const Moments& moments,
                             std::size_t channel) noexcept;

/// Grids for the next batch, in channels of which this one tells anything: the mean may move by 2^9
/// standard deviations, and the deviation may grow by 2^3 besides. `exponents` is [num * channels].
void predict_exponents(const Moments& moments, std::int64_t num_samples,
                       std::span<std::int64_t> exponents) noexcept;

/// The grids of `channel` for elements no farther than `distance` from the center, of which samples
/// have at most the weight `count`. Where one is 0, what depends on it stays.
void fit_exponents(double count, double distance, std::size_t channel,
                   std::span<std::int64_t> exponents) noexcept;

/// Measured sums of a layer that has seen nothing: for terms of a size between 1e-5 and 4096.
inline constexpr std::int64_t first_measured_exponent = 12;

/// True where rounding to coarse steps would change a measured sum by more than 2^-22 of its
/// magnitude: that magnitude itself is not known well below.
[[nodiscard]] bool is_coarse(const ExactSums& sums, std::size_t sum, std::size_t channel) noexcept;

/// The grid for the next terms of a measured sum: they may grow by 2^18.
[[nodiscard]] std::int64_t predicted_exponent(const ExactSums& sums, std::size_t sum,
                                              std::size_t channel, std::int64_t present) noexcept;

}  // namespace lockstep
