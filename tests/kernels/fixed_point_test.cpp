#include "kernels/fixed_point.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"
#include "support/kernels.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::size_t num_columns = 19;

std::vector<std::int64_t> exponents_of(std::int64_t exponent) {
  return std::vector<std::int64_t>(num_columns, exponent);
}

// Rows of terms, [rows][columns], up to 2^10 in size.
std::vector<std::vector<double>> random_terms(std::size_t num_rows, bool are_positive) {
  std::vector<std::vector<double>> rows(num_rows, std::vector<double>(num_columns));
  for (std::size_t row = 0; row < num_rows; ++row)
    for (std::size_t c = 0; c < num_columns; ++c) {
      const std::uint64_t place = row * num_columns + c;
      const double size = std::ldexp(RandomKey(1).normal(place), static_cast<int>(place % 40) - 30);
      rows[row][c] = place % 11 == 0 ? 0.0 : (are_positive ? std::abs(size) : size);
    }
  return rows;
}

struct Result {
  std::vector<Wide> totals;
  std::vector<std::int64_t> magnitudes;
  friend bool operator==(const Result&, const Result&) = default;
};

Result sums_of(TermKind kind, const std::vector<std::vector<double>>& rows, std::int64_t exponent) {
  FixedPointSums sums(kind);
  sums.reset(exponents_of(exponent));
  for (const auto& row : rows) sums.add(row);
  REQUIRE_FALSE(sums.has_outside());
  const auto totals = sums.totals();
  return {{totals.begin(), totals.end()}, {sums.magnitudes().begin(), sums.magnitudes().end()}};
}

double value_of(Wide total, int exponent) {
  return static_cast<double>(
      std::ldexp(static_cast<long double>(total), exponent - coarse_bits - fine_bits));
}

}  // namespace

TEST_CASE("every target and every order gives the same integers", "[kernels]") {
  const auto kind = GENERATE(TermKind::any, TermKind::positive, TermKind::measured);
  auto rows = random_terms(max_terms_in_words + 100, kind == TermKind::positive);
  Result expected;
  {
    const ChosenKernels kernels(KernelTarget::reference);
    expected = sums_of(kind, rows, 20);
  }
  for (const KernelTarget target : supported_kernel_targets()) {
    const ChosenKernels kernels(target);
    CHECK(sums_of(kind, rows, 20) == expected);
  }
  std::ranges::reverse(rows);
  std::rotate(rows.begin(), rows.begin() + 1000, rows.end());
  CHECK(sums_of(kind, rows, 20) == expected);
}

TEST_CASE("a sum of integers is the sum, to half a finest step per term", "[kernels]") {
  const auto rows = random_terms(500, false);
  const Result result = sums_of(TermKind::measured, rows, 20);
  for (std::size_t c = 0; c < num_columns; ++c) {
    long double sum = 0.0L, magnitude = 0.0L;
    for (const auto& row : rows) {
      sum += static_cast<long double>(row[c]);
      magnitude += static_cast<long double>(std::abs(row[c]));
    }
    CHECK(std::abs(value_of(result.totals[c], 20) - static_cast<double>(sum)) <=
          500 * std::ldexp(0.5, 20 - coarse_bits - fine_bits));
    // Half a step and one more for every term.
    const double step = std::ldexp(1.0, 20 - coarse_bits + magnitude_shift);
    CHECK(std::abs(static_cast<double>(result.magnitudes[c]) * step -
                   static_cast<double>(magnitude)) <= 1.5 * 500 * step);
  }
}

TEST_CASE("equal terms may be added at once", "[kernels]") {
  const auto kind = GENERATE(TermKind::any, TermKind::positive);
  const double term = GENERATE(0.0, 1.0, 0.3, 1000.7, 1e-200);
  const std::vector<std::vector<double>> rows(77, std::vector<double>(num_columns, term));
  FixedPointSums sums(kind);
  sums.reset(exponents_of(12));
  sums.add_equal(term, 77);
  const auto totals = sums.totals();
  CHECK(std::ranges::equal(totals, sums_of(kind, rows, 12).totals));
}

TEST_CASE("terms off the grid are noticed, by every target, and 0 to the limit fit", "[kernels]") {
  const double limit = 0x1p7;
  const std::vector<double> outside{1.001 * limit,
                                    -1.001 * limit,
                                    1e300,
                                    std::numeric_limits<double>::infinity(),
                                    -std::numeric_limits<double>::infinity(),
                                    std::numeric_limits<double>::quiet_NaN()};
  const auto kind = GENERATE(TermKind::any, TermKind::measured);
  const auto has_outside = [&](double term, std::size_t column) {
    std::vector<double> terms(num_columns, 1.0);
    terms[column] = term;
    FixedPointSums sums(kind);
    sums.reset(exponents_of(7));
    sums.add(terms);
    sums.add(std::vector<double>(num_columns, 0.0));
    return sums.has_outside();
  };
  for (const KernelTarget target : supported_kernel_targets()) {
    const ChosenKernels kernels(target);
    for (const std::size_t column : {std::size_t{0}, num_columns / 2, num_columns - 1}) {
      for (const double term : outside) CHECK(has_outside(term, column));
      for (const double term : {0.0, -0.0, 0.999 * limit, -0.999 * limit, 1e-300})
        CHECK_FALSE(has_outside(term, column));
    }
  }
}

TEST_CASE("a positive sum is 0 only when all terms are", "[kernels]") {
  for (const KernelTarget target : supported_kernel_targets()) {
    const ChosenKernels kernels(target);
    CHECK(sums_of(TermKind::positive, {std::vector(num_columns, 1e-300)}, 20).totals ==
          std::vector<Wide>(num_columns, 1));
    CHECK(sums_of(TermKind::positive, {std::vector(num_columns, 0.0)}, 20).totals ==
          std::vector<Wide>(num_columns, 0));
    CHECK(sums_of(TermKind::measured, {std::vector(num_columns, -1e-300)}, 20).magnitudes ==
          std::vector<std::int64_t>(num_columns, 1));
  }
}
