#include "stats/exact_moments.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

constexpr auto kinds = {TermKind::positive, TermKind::any, TermKind::positive};
constexpr std::size_t num_channels = 3;

// Elements of one sample per row and channel.
using Rows = std::vector<std::vector<double>>;

Rows normal_rows(std::size_t count, double mean, double stddev) {
  Rows rows(count, std::vector<double>(num_channels));
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t c = 0; c < num_channels; ++c)
      rows[row][c] = mean + stddev * RandomKey(3).normal(row * num_channels + c);
  return rows;
}

std::vector<std::int64_t> first_grid() {
  std::vector<std::int64_t> exponents;
  for (const std::int64_t exponent : first_moment_exponents)
    exponents.insert(exponents.end(), num_channels, exponent);
  return exponents;
}

std::vector<std::int64_t> message_of(const Rows& rows, const std::vector<std::int64_t>& exponents) {
  ExactSums sums(kinds, num_channels);
  sums.reset(exponents);
  for (const auto& row : rows) {
    std::vector<double> squares(row);
    for (double& value : squares) value *= value;
    sums.local(moment_sums::count).add(std::vector<double>(num_channels, 1.0));
    sums.local(moment_sums::sum).add(row);
    sums.local(moment_sums::sum_squares).add(squares);
  }
  std::vector<std::int64_t> words(ExactSums::num_words(kinds, num_channels));
  sums.write(static_cast<std::int64_t>(rows.size()), words);
  return words;
}

ExactSums read(const std::vector<std::int64_t>& words, const std::vector<std::int64_t>& exponents) {
  ExactSums sums(kinds, num_channels);
  sums.reset(exponents);
  sums.read(words);
  return sums;
}

Moments moments_of(const ExactSums& sums) {
  Moments moments;
  moments.resize(num_channels);
  compute_moments(sums, moments);
  return moments;
}

Moments moments_of(const Rows& rows, const std::vector<std::int64_t>& exponents) {
  return moments_of(read(message_of(rows, exponents), exponents));
}

}  // namespace

TEST_CASE("messages of the parts add up to that of the whole", "[stats]") {
  const Rows rows = normal_rows(100, -3.0, 2.0);
  std::vector<std::int64_t> sum(ExactSums::num_words(kinds, num_channels));
  for (std::size_t first = 0; first < rows.size(); first += 7) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(first);
    const auto size = static_cast<std::ptrdiff_t>(std::min<std::size_t>(7, rows.size() - first));
    const auto part = message_of(Rows(begin, begin + size), first_grid());
    std::ranges::transform(sum, part, sum.begin(), std::plus());
  }
  const ExactSums parts = read(sum, first_grid());
  const ExactSums whole = read(message_of(rows, first_grid()), first_grid());
  CHECK(parts.num_samples() == 100);
  for (std::size_t i = 0; i < moment_sums::num; ++i)
    for (std::size_t c = 0; c < num_channels; ++c) CHECK(parts.value(i, c) == whole.value(i, c));
}

TEST_CASE("moments are those of the numbers", "[stats]") {
  const double mean = GENERATE(0.0, 1.0, -300.0);
  const Rows rows = normal_rows(1000, mean, 1.0);
  const Moments moments = moments_of(rows, first_grid());
  for (std::size_t c = 0; c < num_channels; ++c) {
    long double sum = 0.0L, squares = 0.0L;
    for (const auto& row : rows) sum += static_cast<long double>(row[c]);
    for (const auto& row : rows)
      squares += std::pow(static_cast<long double>(row[c]) - sum / 1000.0L, 2.0L);
    CHECK(moments.count[c] == 1000.0);
    CHECK(moments.offset[c] == Approx(static_cast<double>(sum / 1000.0L)).epsilon(1e-12));
    CHECK(moments.variance[c] == Approx(static_cast<double>(squares / 1000.0L)).epsilon(1e-8));
  }
}

TEST_CASE("an empty set and a constant one have moments without noise", "[stats]") {
  const Moments empty = moments_of(Rows(), first_grid());
  const Moments constant = moments_of(Rows(10, std::vector(num_channels, 0.0)), first_grid());
  for (std::size_t c = 0; c < num_channels; ++c) {
    CHECK(empty.count[c] == 0.0);
    CHECK(empty.variance[c] == 0.0);
    CHECK(constant.count[c] == 10.0);
    CHECK(constant.offset[c] == 0.0);
    CHECK(constant.variance[c] == 0.0);
  }
}

TEST_CASE("predicted grids take a jump of 2^9 standard deviations and know when to ask",
          "[stats]") {
  const double stddev = GENERATE(1e-8, 1.0, 1e12);
  auto exponents = first_grid();
  for (std::size_t c = 0; c < num_channels; ++c) fit_exponents(1.0, 8.0 * stddev, c, exponents);
  const Moments before = moments_of(normal_rows(200, 0.0, stddev), exponents);
  predict_exponents(before, 200, exponents);

  const bool is_coarse_only = GENERATE(false, true);
  const auto is_due = [&](const Rows& rows) {
    auto words = message_of(rows, exponents);
    words[1] = is_coarse_only ? 1 : 0;
    const ExactSums sums = read(words, exponents);
    const Moments moments = moments_of(sums);
    bool result = sums.has_outside();
    for (std::size_t c = 0; c < num_channels; ++c)
      result = result || is_coarse(sums, moments, c) || is_far(moments, c);
    return result;
  };
  CHECK_FALSE(is_due(normal_rows(200, 0.0, stddev)));
  CHECK_FALSE(is_due(normal_rows(200, 0x1p9 * stddev, stddev)));
  CHECK_FALSE(is_due(normal_rows(200, 0.0, stddev / 8.0)));
  CHECK_FALSE(is_due(normal_rows(200, 0.0, 8.0 * stddev)));
  CHECK(is_due(normal_rows(200, 0.0, stddev / 4096.0)) == is_coarse_only);
  CHECK(is_due(normal_rows(200, 0.0, 0x1p-24 * stddev)));
  CHECK(is_due(normal_rows(200, 0.0, 0x1p13 * stddev)));
  CHECK(is_due(normal_rows(200, 0x1p11 * stddev, stddev)));
}

TEST_CASE("grids that fit a range take everything in it", "[stats]") {
  const double distance = GENERATE(1e-30, 1.0, 0x1p20, 1e30);
  auto exponents = first_grid();
  for (std::size_t c = 0; c < num_channels; ++c) fit_exponents(1.0, distance, c, exponents);
  const Rows rows{std::vector(num_channels, distance), std::vector(num_channels, -distance)};
  const ExactSums sums = read(message_of(rows, exponents), exponents);
  CHECK_FALSE(sums.has_outside());
  CHECK(moments_of(sums).variance[0] == Approx(distance * distance).epsilon(1e-12));
}

TEST_CASE("measured sums tell how large terms are and when their grid is too coarse", "[stats]") {
  const double size = GENERATE(1e-4, 1.0, 1000.0);
  const auto measured = {TermKind::measured};
  const auto after = [&](double factor, std::int64_t exponent) {
    ExactSums sums(measured, 1);
    sums.reset(std::vector{exponent});
    for (int i = 0; i < 100; ++i)
      sums.local(0).add(std::vector{(i % 2 == 0 ? factor : -factor) * size});
    std::vector<std::int64_t> words(ExactSums::num_words(measured, 1));
    sums.write(100, words);
    sums.read(words);
    return sums;
  };
  const ExactSums first = after(1.0, first_measured_exponent);
  CHECK(first.magnitude(0, 0) == Approx(100.0 * size).epsilon(1e-3));
  CHECK_FALSE(is_coarse(first, 0, 0));
  const std::int64_t next = predicted_exponent(first, 0, 0, first_measured_exponent);
  CHECK_FALSE(is_coarse(after(1.0, next), 0, 0));
  CHECK_FALSE(is_coarse(after(1.0 / 16.0, next), 0, 0));
  CHECK(is_coarse(after(1e-6, next), 0, 0));
  CHECK(is_coarse(after(1e-300, next), 0, 0));
  CHECK_FALSE(is_coarse(after(0.0, next), 0, 0));
  CHECK_FALSE(after(0x1p16, next).has_outside());
  CHECK(after(0x1p20, next).has_outside());
  CHECK(predicted_exponent(after(0.0, next), 0, 0, next) == next);
}
