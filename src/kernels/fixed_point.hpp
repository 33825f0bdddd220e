// Sums per column that come out the same in every order: terms are rounded onto a grid, and
// integers are added up.

#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace lockstep {

/// What a sum needs to know of its terms besides their sum.
enum class TermKind : std::uint8_t {
  any,
  positive,  ///< never negative; one that is not 0 counts at least the finest step
  measured,  ///< how large they are in the mean
};

__extension__ using Wide = __int128;

/// 2^exponent, which must be a normal number.
[[nodiscard]] constexpr double power_of_two(std::int64_t exponent) noexcept {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

/// Terms of magnitude up to 2^e are rounded to steps of 2^(e - coarse_bits), and what that leaves
/// to steps that are finer by fine_bits.
inline constexpr int coarse_bits = 51;
inline constexpr int fine_bits = 27;
/// Magnitudes are counted in coarse steps times 2^magnitude_shift.
inline constexpr int magnitude_shift = 13;
/// So many terms per column fit into the words of a row.
inline constexpr std::int64_t max_terms_in_words = 2048;
/// And so many into a sum, and into the words that it crosses the ranks in.
inline constexpr std::int64_t max_terms = std::int64_t{1} << 24;

/// One sum per column, as loops see it; [columns]. Adding `coarse_rounder` and taking it away again
/// rounds to coarse steps: it is 1.5 * 2^52 of them, so that the integer lies in the lowest bits.
struct FixedPointRow {
  TermKind kind;
  const double* coarse_rounder;
  const double* fine_rounder;
  const double* coarse_step;
  const double* fine_step;
  std::int64_t* coarse;
  std::int64_t* fine;
  std::int64_t* magnitude;
};

/// Bits that tell whether a term was off its grid, NaN and infinity included: see is_outside().
using OutsideBits = std::uint64_t;
/// A sum with a rounder keeps sign and exponent of it unless the term was too large.
[[nodiscard]] constexpr bool is_outside(OutsideBits bits) noexcept { return bits >> 52 != 0; }

/// Adds terms[i] to column i for the first `count` columns. Elementwise, so that every target gives
/// the same. This is the plain loop; vector kernels do the same.
[[nodiscard]] OutsideBits add_terms_plainly(const FixedPointRow& row, const double* terms,
                                            std::int64_t count) noexcept;
/// The same by the best kernel.
[[nodiscard]] OutsideBits add_terms(const FixedPointRow& row, const double* terms,
                                    std::int64_t count) noexcept;

/// One sum per column.
class FixedPointSums {
 public:
  explicit FixedPointSums(TermKind kind) : kind_(kind) {}

  /// Empties the sums and gives them grids: 2^exponents[i] bounds the terms of column i.
  void reset(std::span<const std::int64_t> exponents);

  /// Where loops add up to `num_terms` terms per column, at most max_terms_in_words; what they
  /// return goes to note().
  [[nodiscard]] FixedPointRow row(std::int64_t num_terms) noexcept;
  void note(OutsideBits bits) noexcept { outside_ |= bits; }

  /// Adds one term per column.
  void add(std::span<const double> terms) noexcept;
  /// True for a term that does not fit the grid of its column.
  [[nodiscard]] bool is_too_large(std::size_t column, double term) const noexcept;
  /// Adds `num_terms` equal terms to every column.
  void add_equal(double term, std::int64_t num_terms) noexcept;

  /// True when a term did not fit its grid.
  [[nodiscard]] bool has_outside() const noexcept { return is_outside(outside_); }
  [[nodiscard]] TermKind kind() const noexcept { return kind_; }
  [[nodiscard]] std::size_t num_columns() const noexcept { return totals_.size(); }

  /// In finest steps, all terms so far.
  [[nodiscard]] std::span<const Wide> totals() noexcept;
  /// Sum of magnitudes in their steps, plus the number of terms that are not 0; kind `measured`.
  [[nodiscard]] std::span<const std::int64_t> magnitudes() const noexcept { return magnitude_; }

 private:
  void empty_words() noexcept;

  TermKind kind_;
  OutsideBits outside_ = 0;
  std::int64_t num_in_words_ = 0;
  std::vector<double> coarse_rounder_, fine_rounder_, coarse_step_, fine_step_;
  std::vector<std::int64_t> coarse_, fine_, magnitude_;
  std::vector<Wide> totals_;
};

/// The exponents that grids may have: steps are neither subnormal nor infinite.
inline constexpr std::int64_t min_exponent = -940;
inline constexpr std::int64_t max_exponent = 1000;

}  // namespace lockstep
