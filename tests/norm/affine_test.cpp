// The affine functions between x and y, and their derivatives.

#include "norm/affine.hpp"

#include <cmath>

#include "base/convert.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double epsilon = 0.125;
const std::vector centers{10.0, -3.0, 0.0};

Moments some_moments() {
  return {.count = {4.0, 4.0, 4.0}, .offset = {0.1, -1.0, 0.0}, .variance = {2.0, 0.0, 1e-3}};
}

ChannelAffine normalization_by(Moments moments) {
  ChannelAffine affine;
  affine.resize(3);
  affine.center = centers;
  normalize_by(moments, epsilon, DType::float32, affine);
  return affine;
}

double value_at(const ChannelAffine& affine, std::size_t c, double x) {
  return (x - affine.center[c]) * affine.scale[c] + affine.shift[c];
}

}  // namespace

TEST_CASE("the mean becomes 0, and a standard deviation nearly 1", "[norm]") {
  const Moments moments = some_moments();
  const ChannelAffine affine = normalization_by(moments);
  for (std::size_t c = 0; c < 3; ++c) {
    const double mean = centers[c] + moments.offset[c];
    CHECK(affine.center[c] == static_cast<double>(static_cast<float>(mean)));
    const double stddev = std::sqrt(moments.variance[c] + epsilon);
    CHECK(std::abs(value_at(affine, c, mean)) < 1e-14);
    CHECK(std::abs(value_at(affine, c, mean + stddev) - 1.0) < 1e-14);
  }
}

TEST_CASE("a value that is the mean becomes 0 exactly, whatever the links", "[norm]") {
  for (const DType dtype : {DType::float32, DType::float64})
    for (int i = 1; i < 200; ++i) {
      // Means of 24 bits about centers that are no neighbours of theirs.
      const double mean = rounded_to(dtype, std::sin(i) * 3.0), center = std::ldexp(i % 7, -4);
      Moments moments{.count = {3.0}, .offset = {mean - center}, .variance = {0.1 * i}};
      ChannelAffine affine;
      affine.resize(1);
      affine.center = {center};
      normalize_by(moments, 1e-3, dtype, affine);
      affine.then(std::vector{0.1 + 0.01 * i}, std::vector{0.0});
      REQUIRE(std::abs(value_at(affine, 0, mean)) <= (dtype == DType::float32 ? 0.0 : 1e-15));
    }
}

TEST_CASE("links are applied one after the other", "[norm]") {
  ChannelAffine affine = normalization_by(some_moments());
  const ChannelAffine before = affine;
  const std::vector factor{2.0, 0.0, -1.0}, offset{1.0, 2.0, 3.0};
  affine.then(factor, offset);
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(std::abs(value_at(affine, c, 0.7) - (value_at(before, c, 0.7) * factor[c] + offset[c])) <
          1e-12);
}

TEST_CASE("an empty set and a constant without epsilon normalize to 0", "[norm]") {
  ChannelAffine affine =
      normalization_by({.count = {0, 0, 0}, .offset = {0, 0, 0}, .variance = {0, 0, 0}});
  for (std::size_t c = 0; c < 3; ++c) CHECK(value_at(affine, c, 5.0) == 0.0);
  CHECK(inverse_stddev(0.0, 0.0) == 0.0);
  CHECK(inverse_stddev(0.0, 0.25) == 2.0);
}

TEST_CASE("input gradients have no part along 1 and along xhat", "[norm]") {
  // A set of four values about the center, so that its moments are known.
  const std::vector<double> x{-1.0, 0.0, 2.0, 3.0}, dy{0.3, -0.1, 0.7, 0.2};
  Moments moments{.count = {4.0}, .offset = {1.0}, .variance = {2.5}};
  ChannelAffine affine;
  affine.resize(1);
  normalize_by(moments, 0.0, DType::float64, affine);
  std::vector<double> message(gradient_sums_length(1, false));
  const GradientSumsView sums = gradient_sums_in(message, false);
  for (std::size_t i = 0; i < 4; ++i) {
    sums.output[0] += dy[i];
    sums.normalized[0] += dy[i] * value_at(affine, 0, x[i]);
  }
  InputGradientAffine gradient;
  gradient.resize(1);
  const std::vector gamma{1.5};
  differentiate(sums, moments.count, affine, gamma, gradient);
  double along_one = 0.0, along_normalized = 0.0;
  for (std::size_t i = 0; i < 4; ++i) {
    const double dx =
        gradient.a[0] * dy[i] + gradient.p[0] * (x[i] - affine.center[0]) + gradient.q[0];
    along_one += dx;
    along_normalized += dx * value_at(affine, 0, x[i]);
  }
  CHECK(std::abs(along_one) < 1e-14);
  CHECK(std::abs(along_normalized) < 1e-14);
  CHECK(gradient.a[0] == 1.5 / std::sqrt(2.5));
}
