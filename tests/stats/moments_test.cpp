// Sums are a monoid, and moments follow from them.

#include "stats/moments.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/normalization.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::size_t channels = 3;

// The message of rows [first, last) of `x`, [rows, channels], about `center`.
std::vector<double> message_of(std::span<const double> x, std::size_t first, std::size_t last,
                               const std::vector<double>& center) {
  std::vector<double> message(sums_length(channels));
  const SumsView sums = sums_in(message);
  ColumnLayout layout;
  layout.append(static_cast<std::int64_t>(last - first), 0);
  layout.append(channels, 1);
  const AnyActivation linear = ActivationFunction::linear;
  add_sums(
      NormalizationBatch<double>{
          .x = x.data() + first * channels, .layout = layout, .activation = linear},
      center.data(), sums.count.data(), sums.sum.data(), sums.sum_squares.data());
  return message;
}

Moments moments_of(std::vector<double> message) {
  Moments moments;
  moments.resize(channels);
  compute_moments(sums_in(message), moments);
  return moments;
}

std::vector<double> sum_of(std::vector<double> a, const std::vector<double>& b) {
  std::ranges::transform(a, b, a.begin(), std::plus());
  return a;
}

}  // namespace

TEST_CASE("sums of a union are the sums of its parts, empty ones included", "[stats]") {
  const Tensor x = random_tensor({10, channels}, 1);
  const std::vector<double> center{0.1, -0.2, 0.3};
  const auto part = [&](std::size_t first, std::size_t last) {
    return message_of(x.values<double>(), first, last, center);
  };
  const Moments whole = moments_of(part(0, 10));
  for (std::size_t cut = 0; cut <= 10; ++cut) {
    const Moments merged = moments_of(sum_of(part(0, cut), part(cut, 10)));
    CHECK(merged.count == std::vector<double>(channels, 10.0));
    CHECK(distance(merged.offset, whole.offset) < 1e-14);
    CHECK(distance(merged.variance, whole.variance) < 1e-14);
  }
}

TEST_CASE("moments do not depend on the center", "[stats]") {
  const Tensor x = random_tensor({50, channels}, 2);
  const Moments about_zero = moments_of(message_of(x.values<double>(), 0, 50, {0, 0, 0}));
  const Moments about_other = moments_of(message_of(x.values<double>(), 0, 50, {1, -2, 3}));
  CHECK(distance(about_other.variance, about_zero.variance) < 1e-13);
  const std::vector center{1.0, -2.0, 3.0};
  for (std::size_t c = 0; c < channels; ++c)
    CHECK(std::abs(center[c] + about_other.offset[c] - about_zero.offset[c]) < 1e-14);
}

TEST_CASE("nothing has moments of zero, and is not far from anything", "[stats]") {
  const Moments moments = moments_of(std::vector<double>(sums_length(channels)));
  for (std::size_t c = 0; c < channels; ++c) {
    CHECK(moments.count[c] == 0.0);
    CHECK(moments.offset[c] == 0.0);
    CHECK(moments.variance[c] == 0.0);
  }
  CHECK_FALSE(is_far_anywhere(moments));
}

TEST_CASE("a center is far beyond 2^10 standard deviations, or where sums overflow", "[stats]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto is_far_at = [](double offset, double variance) {
    return is_far({.count = {1.0}, .offset = {offset}, .variance = {variance}}, 0);
  };
  CHECK_FALSE(is_far_at(1024.0, 1.0));
  CHECK(is_far_at(1024.5, 1.0));
  CHECK(is_far_at(-1024.5, 1.0));
  CHECK_FALSE(is_far_at(0.0, 0.0));
  CHECK(is_far_at(1e-3, 0.0));
  CHECK(is_far_at(0.0, infinity));
  CHECK(is_far_at(std::nan(""), std::nan("")));
}

TEST_CASE("momentum is the weight of the old value", "[stats]") {
  CHECK(moving_average(2.0, 10.0, 0.75) == 4.0);
  CHECK(moving_average(2.0, 10.0, 1.0) == 2.0);
  CHECK(moving_average(2.0, 10.0, 0.0) == 10.0);
}
