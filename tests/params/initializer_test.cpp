// First values: the same on all ranks, with the moments and limits that their names promise.

#include "lockstep/params/initializer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using Fan = VarianceScaling::Fan;
using Distribution = VarianceScaling::Distribution;

Tensor initialized(const Initializer& initializer, const Shape& shape, DType dtype = DType::float64,
                   std::string_view name = "v", std::uint64_t seed = 1) {
  Tensor result(shape, dtype);
  initialize(initializer, name, seed, result);
  return result;
}

struct Moments {
  double mean = 0.0;
  double variance = 0.0;
  double minimum = 0.0;
  double maximum = 0.0;
};

// Of 100 000 values.
Moments moments_of(const Initializer& initializer, const Shape& shape = {250, 400}) {
  const Tensor tensor = initialized(initializer, shape);
  const auto values = tensor.values<double>();
  const auto count = static_cast<double>(values.size());
  Moments result;
  for (const double value : values) result.mean += value / count;
  for (const double value : values) result.variance += std::pow(value - result.mean, 2) / count;
  result.minimum = *std::ranges::min_element(values);
  result.maximum = *std::ranges::max_element(values);
  return result;
}

// Five standard errors of the variance of 100 000 normal values, relative to it.
constexpr double five_sigma = 5.0 * 0.0045;

// Relative deviation of the variance.
double variance_error(const Initializer& initializer, const Shape& shape, double expected) {
  return std::abs(moments_of(initializer, shape).variance / expected - 1.0);
}

const std::vector<Initializer> random_initializers{
    RandomNormal{},    RandomUniform{},
    TruncatedNormal{}, glorot_uniform(),
    glorot_normal(),   he_uniform(),
    he_normal(),       lecun_uniform(),
    lecun_normal(),    VarianceScaling{.distribution = Distribution::untruncated_normal}};

TEST_CASE("initializer: constants are constant in every dtype") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const auto is_all = [&](const Initializer& initializer, double value) {
      Tensor tensor = initialized(initializer, {3, 5}, dtype);
      if (dtype == DType::float32)
        return std::ranges::count(tensor.values<float>(), static_cast<float>(value)) == 15;
      return std::ranges::count(tensor.values<double>(), value) == 15;
    };
    CHECK(is_all(Zeros{}, 0.0));
    CHECK(is_all(Ones{}, 1.0));
    CHECK(is_all(Constant{-0.3}, -0.3));
  }
}

TEST_CASE("initializer: all ranks have the same bits") {
  const Communicator world = Communicator::world();
  for (const Initializer& initializer : random_initializers) {
    const Tensor mine = initialized(initializer, {31, 7});
    Tensor first = mine;
    broadcast(world, std::as_writable_bytes(first.values<double>()), 0);
    REQUIRE_ON_ALL_RANKS(world, std::ranges::equal(mine.values<double>(), first.values<double>()));
  }
}

TEST_CASE("initializer: values depend on seed and name") {
  const auto first_value = [](const Initializer& initializer, std::string_view name,
                              std::uint64_t seed) {
    return initialized(initializer, {4, 4}, DType::float64, name, seed).values<double>()[0];
  };
  for (const Initializer& initializer : random_initializers) {
    CHECK(first_value(initializer, "a", 1) == first_value(initializer, "a", 1));
    CHECK(first_value(initializer, "a", 1) != first_value(initializer, "b", 1));
    CHECK(first_value(initializer, "a", 1) != first_value(initializer, "a", 2));
  }
}

TEST_CASE("initializer: a seed of its own stands for that of the model") {
  const auto same = [](const Initializer& own, const Initializer& plain) {
    const Tensor a = initialized(own, {9, 4}, DType::float64, "v", 1);
    const Tensor b = initialized(plain, {9, 4}, DType::float64, "v", 77);
    return std::ranges::equal(a.values<double>(), b.values<double>());
  };
  CHECK(same(RandomNormal{.seed = 77}, RandomNormal{}));
  CHECK(same(RandomUniform{.seed = 77}, RandomUniform{}));
  CHECK(same(TruncatedNormal{.seed = 77}, TruncatedNormal{}));
  CHECK(same(VarianceScaling{.seed = 77}, VarianceScaling{}));
  CHECK_FALSE(same(RandomNormal{.seed = 78}, RandomNormal{}));
}

TEST_CASE("initializer: float32 values are the rounded float64 values") {
  for (const Initializer& initializer : random_initializers) {
    const Tensor wide = initialized(initializer, {20, 10}, DType::float64);
    const Tensor narrow = initialized(initializer, {20, 10}, DType::float32);
    CHECK(std::ranges::equal(narrow.values<float>(), wide.values<double>(), {}, {},
                             [](double value) { return static_cast<float>(value); }));
  }
}

TEST_CASE("initializer: more rows do not change the rows before") {
  const Tensor few = initialized(RandomNormal{}, {10, 4});
  const Tensor many = initialized(RandomNormal{}, {20, 4});
  CHECK(std::ranges::equal(few.values<double>(), many.values<double>().first(40)));
}

TEST_CASE("initializer: a normal distribution has its mean and deviation") {
  const Moments m = moments_of(RandomNormal{.mean = 3.0, .stddev = 0.5});
  CHECK(std::abs(m.mean - 3.0) < 5.0 * 0.5 / std::sqrt(1e5));
  CHECK(std::abs(m.variance / 0.25 - 1.0) < five_sigma);
  CHECK(m.maximum > 3.0 + 2.0 * 0.5);  // not cut
  const Moments fixed = moments_of(RandomNormal{.mean = 2.0, .stddev = 0.0});
  CHECK(fixed.minimum == 2.0);
  CHECK(fixed.maximum == 2.0);
}

TEST_CASE("initializer: a uniform distribution fills its limits evenly") {
  const Moments m = moments_of(RandomUniform{.minimum = -1.0, .maximum = 3.0});
  CHECK(m.minimum >= -1.0);
  CHECK(m.maximum < 3.0);
  CHECK(m.minimum < -0.999);
  CHECK(m.maximum > 2.999);
  CHECK(std::abs(m.mean - 1.0) < 5.0 * std::sqrt(16.0 / 12.0 / 1e5));
  CHECK(std::abs(m.variance / (16.0 / 12.0) - 1.0) < five_sigma);
  CHECK(moments_of(RandomUniform{.minimum = 2.0, .maximum = 2.0}).maximum == 2.0);
}

TEST_CASE("initializer: a truncated normal ends at two deviations") {
  const Moments m = moments_of(TruncatedNormal{.mean = 1.0, .stddev = 0.5});
  CHECK(m.minimum >= 0.0);
  CHECK(m.maximum <= 2.0);
  CHECK(m.minimum < 0.01);
  CHECK(m.maximum > 1.99);
  CHECK(std::abs(m.mean - 1.0) < 5.0 * 0.5 / std::sqrt(1e5));
  // Variance of a standard normal cut at +-2: 1 - 4 phi(2) / (2 Phi(2) - 1).
  const double density = std::exp(-2.0) / std::sqrt(2.0 * std::acos(-1.0));
  const double cut = 1.0 - 4.0 * density / std::erf(std::sqrt(2.0));
  CHECK(std::abs(m.variance / (0.25 * cut) - 1.0) < five_sigma);
}

TEST_CASE("initializer: variance scaling gives the variance scale / n for each fan") {
  const auto scaling = [](Fan fan, Distribution distribution) {
    return VarianceScaling{.scale = 3.0, .fan = fan, .distribution = distribution};
  };
  for (const auto distribution :
       {Distribution::truncated_normal, Distribution::untruncated_normal, Distribution::uniform}) {
    // [inputs, outputs]
    CHECK(variance_error(scaling(Fan::in, distribution), {100, 1000}, 3.0 / 100) < five_sigma);
    CHECK(variance_error(scaling(Fan::out, distribution), {100, 1000}, 3.0 / 1000) < five_sigma);
    CHECK(variance_error(scaling(Fan::average, distribution), {100, 1000}, 3.0 / 550) < five_sigma);
    // [height, width, inputs, outputs]: n counts every position of the kernel.
    CHECK(variance_error(scaling(Fan::in, distribution), {5, 4, 50, 100}, 3.0 / 1000) < five_sigma);
    CHECK(variance_error(scaling(Fan::out, distribution), {5, 4, 50, 100}, 3.0 / 2000) <
          five_sigma);
    CHECK(variance_error(scaling(Fan::average, distribution), {5, 4, 50, 100}, 3.0 / 1500) <
          five_sigma);
  }
}

TEST_CASE("initializer: fans of shapes with other numbers of axes") {
  const auto limit_of = [](Fan fan, const Shape& shape) {  // sqrt(3 / n)
    const Tensor t =
        initialized(VarianceScaling{.fan = fan, .distribution = Distribution::uniform}, shape);
    return t.values<double>()[0] / (2.0 * RandomKey(1).with("v").uniform(0) - 1.0);
  };
  const auto n_of = [&](Fan fan, const Shape& shape) {
    return 3.0 / std::pow(limit_of(fan, shape), 2);
  };
  CHECK(n_of(Fan::in, {}) == Approx(1.0));
  CHECK(n_of(Fan::in, {7}) == Approx(7.0));
  CHECK(n_of(Fan::out, {7}) == Approx(7.0));
  CHECK(n_of(Fan::in, {3, 7, 5}) == Approx(21.0));
  CHECK(n_of(Fan::out, {3, 7, 5}) == Approx(15.0));
}

TEST_CASE("initializer: the named family is scaled as in its papers") {
  const Shape shape{100, 1000};
  CHECK(variance_error(glorot_uniform(), shape, 2.0 / 1100) < five_sigma);
  CHECK(variance_error(glorot_normal(), shape, 2.0 / 1100) < five_sigma);
  CHECK(variance_error(he_uniform(), shape, 2.0 / 100) < five_sigma);
  CHECK(variance_error(he_normal(), shape, 2.0 / 100) < five_sigma);
  CHECK(variance_error(lecun_uniform(), shape, 1.0 / 100) < five_sigma);
  CHECK(variance_error(lecun_normal(), shape, 1.0 / 100) < five_sigma);
  CHECK(moments_of(glorot_uniform(), shape).maximum <= std::sqrt(6.0 / 1100));
  CHECK(moments_of(he_normal(), shape).maximum <= 2.0 * std::sqrt(2.0 / 100) / 0.8796);
}

TEST_CASE("initializer: impossible parameters are refused and change nothing") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto is_refused = [](const Initializer& initializer) {
    Tensor tensor = initialized(Constant{5.0}, {4});
    CHECK_THROWS_AS(initialize(initializer, "v", 1, tensor), ArgumentError);
    return std::ranges::count(tensor.values<double>(), 5.0) == 4;
  };
  for (const double stddev : {-1.0, nan, infinity}) {
    CHECK(is_refused(RandomNormal{.stddev = stddev}));
    CHECK(is_refused(TruncatedNormal{.stddev = stddev}));
  }
  for (const double value : {nan, infinity, -infinity}) {
    CHECK(is_refused(Constant{value}));
    CHECK(is_refused(RandomNormal{.mean = value}));
    CHECK(is_refused(TruncatedNormal{.mean = value}));
    CHECK(is_refused(RandomUniform{.minimum = value}));
    CHECK(is_refused(RandomUniform{.maximum = value}));
  }
  CHECK(is_refused(RandomUniform{.minimum = 1.0, .maximum = 0.0}));
  CHECK(is_refused(RandomUniform{.minimum = -1e308, .maximum = 1e308}));
  for (const double scale : {0.0, -1.0, nan, infinity})
    CHECK(is_refused(VarianceScaling{.scale = scale}));
}

TEST_CASE("initializer: memory that cannot be filled is refused") {
  std::vector<float> values(3);
  std::vector<std::int64_t> integers(3);
  CHECK_THROWS_AS(initialize(Ones{}, "v", 1, view(values, {4})), ArgumentError);
  CHECK_THROWS_AS(initialize(Ones{}, "v", 1, view(integers, {3})), ArgumentError);
  CHECK(values[2] == 0.0F);
  CHECK_NOTHROW(initialize(RandomNormal{}, "v", 1, view(values, {0, 3})));
}

TEST_CASE("initializer: in words, different ones are told apart") {
  CHECK(to_string(Zeros{}) == "zeros");
  CHECK(to_string(Ones{}) == "ones");
  CHECK(to_string(Constant{0.5}) == "constant(0.5)");
  CHECK(to_string(RandomNormal{.seed = 3}) == "random_normal(0, 0.05, seed 3)");
  CHECK(to_string(RandomUniform{}) == "random_uniform(-0.05, 0.05)");
  CHECK(to_string(TruncatedNormal{}) == "truncated_normal(0, 0.05)");
  CHECK(to_string(he_uniform()) == "variance_scaling(2, fan in, uniform)");
  CHECK(to_string(glorot_normal()) == "variance_scaling(1, fan average, truncated_normal)");
  CHECK(to_string(Constant{0.1}) != to_string(Constant{std::nextafter(0.1, 1.0)}));
}

}  // namespace
}  // namespace lockstep
