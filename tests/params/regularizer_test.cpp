// Penalties and their derivatives.

#include "lockstep/params/regularizer.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

std::vector<double> random_values(std::int64_t count, std::uint64_t seed) {
  const Tensor tensor = random_tensor({count}, seed);
  return {tensor.values<double>().begin(), tensor.values<double>().end()};
}

// The sum of w^4.
RegularizerFunction quartic() {
  return {.name = "quartic",
          .penalty =
              [](std::span<const double> values) {
                double sum = 0.0;
                for (const double value : values) sum += std::pow(value, 4);
                return sum;
              },
          .add_gradient =
              [](std::span<const double> values, std::span<double> gradient) {
                for (std::size_t i = 0; i < values.size(); ++i)
                  gradient[i] += 4.0 * std::pow(values[i], 3);
              }};
}

std::vector<Regularizer> some_regularizers() {
  return {l1(0.3), l2(0.7), l1_l2(0.2, 0.5), Regularizer{}, quartic()};
}

}  // namespace

TEST_CASE("gradients of penalties are those of finite differences") {
  for (const Regularizer& regularizer : some_regularizers()) {
    CAPTURE(to_string(regularizer));
    std::vector<double> values = random_values(20, 1);
    std::vector<double> gradient(values.size());
    add_penalty_gradient(regularizer, values, gradient);
    const auto differences = differences_of(values, [&] { return penalty(regularizer, values); });
    CHECK(distance(gradient, differences) < 1e-8);
  }
}

TEST_CASE("penalty gradients are added to what is there") {
  for (const Regularizer& regularizer : some_regularizers()) {
    CAPTURE(to_string(regularizer));
    const std::vector<double> values = random_values(20, 2);
    std::vector<double> once(values.size()), twice(values.size());
    add_penalty_gradient(regularizer, values, once);
    add_penalty_gradient(regularizer, values, twice);
    add_penalty_gradient(regularizer, values, twice);
    for (double& value : once) value *= 2.0;
    CHECK(once == twice);
  }
}

TEST_CASE("the penalty of all values is the sum of the penalties of any parts") {
  const std::vector<double> values = random_values(20, 3);
  for (const Regularizer& regularizer : some_regularizers())
    for (const std::size_t cut : {std::size_t{0}, std::size_t{7}, values.size()}) {
      CAPTURE(to_string(regularizer), cut);
      const std::span all(values);
      const double parts = penalty(regularizer, all.first(cut)) +  //
                           penalty(regularizer, all.subspan(cut));
      CHECK(std::abs(parts - penalty(regularizer, all)) < 1e-13);
    }
}

TEST_CASE("penalties are those of Keras: no factor 1/2, nothing at 0") {
  const std::vector<double> ones(25, 1.0);
  CHECK(penalty(l2(2.0), ones) == 50.0);
  const std::vector<double> values{0.5, 0.0, -2.0};
  CHECK(penalty(l1(2.0), values) == 5.0);
  CHECK(penalty(l2(2.0), values) == 8.5);
  CHECK(penalty(l1_l2(2.0, 4.0), values) == 22.0);
  CHECK(penalty({}, values) == 0.0);
  std::vector<double> gradient(3);
  add_penalty_gradient(l1_l2(2.0, 4.0), values, gradient);
  CHECK(gradient == std::vector<double>{6.0, 0.0, -18.0});
  const Regularizer one_hundredth = L1L2{.l1 = 0.01, .l2 = 0.01};
  CHECK(std::get<L1L2>(l1()) == L1L2{.l1 = 0.01});
  CHECK(std::get<L1L2>(l2()) == L1L2{.l2 = 0.01});
  CHECK(l1_l2().index() == one_hundredth.index());
  CHECK(std::get<L1L2>(l1_l2()) == std::get<L1L2>(one_hundredth));
}

TEST_CASE("a value that is not a number makes the penalty one") {
  CHECK(std::isnan(penalty(l2(), std::vector{1.0, std::nan("")})));
}

TEST_CASE("regularizers say what they are") {
  CHECK(to_string(Regularizer{}) == "none");
  CHECK(to_string(l1(0.25)) == "l1(0.25)");
  CHECK(to_string(l2(1e-4)) == "l2(0.0001)");
  CHECK(to_string(l1_l2(1.0, 2.0)) == "l1_l2(1, 2)");
  CHECK(to_string(Regularizer(L1L2{})) == "l1_l2(0, 0)");
  CHECK(to_string(Regularizer(quartic())) == "function(quartic)");
}

TEST_CASE("impossible regularizers are refused") {
  for (const double factor : {-1e-300, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(validate(l1(factor)), ArgumentError);
    CHECK_THROWS_AS(validate(l2(factor)), ArgumentError);
    CHECK_THROWS_WITH(validate(l1_l2(0.0, factor)), Catch::Contains("l2 >= 0"));
  }
  RegularizerFunction nameless = quartic(), half = quartic(), other_half = quartic();
  nameless.name.clear();
  half.penalty = nullptr;
  other_half.add_gradient = nullptr;
  CHECK_THROWS_WITH(validate(Regularizer(nameless)), Catch::Contains("name"));
  CHECK_THROWS_WITH(validate(Regularizer(half)), Catch::Contains("quartic"));
  CHECK_THROWS_WITH(validate(Regularizer(other_half)), Catch::Contains("quartic"));
  for (const Regularizer& regularizer : some_regularizers()) CHECK_NOTHROW(validate(regularizer));
}

TEST_CASE("a gradient of another size is refused and not touched") {
  const std::vector<double> values(3, 1.0);
  for (const std::size_t size : {std::size_t{2}, std::size_t{4}}) {
    std::vector<double> gradient(size);
    CHECK_THROWS_AS(add_penalty_gradient(l2(), values, gradient), ArgumentError);
    CHECK(gradient == std::vector<double>(size));
  }
}
