// Projections of parameters, against the formulas of Keras on elements gathered one by one.

#include "lockstep/params/constraint.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

std::vector<double> random_values(const Shape& shape, std::uint64_t seed) {
  const Tensor tensor = random_tensor(shape, seed);
  return {tensor.values<double>().begin(), tensor.values<double>().end()};
}

std::vector<double> projected(const Constraint& constraint, const Shape& shape,
                              std::vector<double> values) {
  project(constraint, shape, values);
  return values;
}

// For every element the norm of those that differ from it along `axes` only.
std::vector<double> norms_of(const std::vector<double>& values, const Shape& shape,
                             const std::vector<int>& axes) {
  std::vector<std::vector<std::int64_t>> places;
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::vector<std::int64_t> place;
    for (int axis = shape.rank() - 1; axis >= 0; rest /= shape[axis--])
      place.push_back(std::ranges::count(axes, axis) > 0 ? 0 : rest % shape[axis]);
    places.push_back(std::move(place));
  }
  std::map<std::vector<std::int64_t>, double> squares;
  for (std::size_t i = 0; i < values.size(); ++i) squares[places[i]] += values[i] * values[i];
  std::vector<double> norms;
  for (const auto& place : places) norms.push_back(std::sqrt(squares[place]));
  return norms;
}

std::vector<std::vector<int>> axis_sets_of(int rank) {
  std::vector<std::vector<int>> sets;
  for (int bits = 1; bits < 1 << rank; ++bits) {
    std::vector<int> axes;
    for (int axis = 0; axis < rank; ++axis)
      if ((bits >> axis & 1) != 0) axes.push_back(axis);
    sets.push_back(std::move(axes));
  }
  return sets;
}

// Checks Keras's w * desired / (1e-7 + norm) for all sets of axes.
void check_formula(const std::function<Constraint(const std::vector<int>&)>& make,
                   const std::function<double(double)>& desired_of) {
  for (const Shape& shape : {Shape{5}, Shape{3, 4}, Shape{4, 130}, Shape{2, 3, 2, 3}})
    for (const std::vector<int>& axes : axis_sets_of(shape.rank())) {
      const Constraint constraint = make(axes);
      CAPTURE(to_string(shape), to_string(constraint));
      const std::vector<double> values = random_values(shape, 5);
      const std::vector<double> norms = norms_of(values, shape, axes);
      std::vector<double> expected;
      for (std::size_t i = 0; i < values.size(); ++i)
        expected.push_back(values[i] * desired_of(norms[i]) / (1e-7 + norms[i]));
      CHECK(distance(projected(constraint, shape, values), expected) < 1e-14);
    }
}

}  // namespace

TEST_CASE("constraints on norms follow their formulas along any axes") {
  check_formula([](const auto& axes) { return MaxNorm{.max_value = 0.8, .axes = axes}; },
                [](double norm) { return std::min(norm, 0.8); });
  check_formula([](const auto& axes) { return UnitNorm{.axes = axes}; },
                [](double) { return 1.0; });
  for (const double rate : {0.0, 0.25, 1.0})
    check_formula(
        [&](const auto& axes) {
          return MinMaxNorm{.min_value = 0.7, .max_value = 0.9, .rate = rate, .axes = axes};
        },
        [&](double norm) { return rate * std::clamp(norm, 0.7, 0.9) + (1.0 - rate) * norm; });
}

TEST_CASE("projecting twice is projecting once, but for Keras's epsilon") {
  const Shape shape{4, 6};
  const std::vector<double> values = random_values(shape, 6);
  for (const Constraint& constraint :
       {Constraint(MaxNorm{.max_value = 0.5}), Constraint(NonNeg{}), Constraint(UnitNorm{}),
        Constraint(MinMaxNorm{.min_value = 1.2, .max_value = 1.3}), Constraint()}) {
    CAPTURE(to_string(constraint));
    const std::vector<double> once = projected(constraint, shape, values);
    // A factor of norm / (1e-7 + norm) for norms of at least 0.5.
    CHECK(distance(projected(constraint, shape, once), once) <= 2.01e-7);
  }
}

TEST_CASE("constrained values are where they are allowed") {
  const Shape shape{4, 6};
  const std::vector<double> values = random_values(shape, 7);
  const auto largest_norm = [&](const Constraint& constraint) {
    return std::ranges::max(norms_of(projected(constraint, shape, values), shape, {0}));
  };
  CHECK(largest_norm(MaxNorm{.max_value = 0.3}) < 0.3);
  CHECK(std::abs(largest_norm(UnitNorm{}) - 1.0) < 1e-6);
  CHECK(std::ranges::min(projected(NonNeg{}, shape, values)) == 0.0);
  CHECK(projected(Constraint(), shape, values) == values);
}

TEST_CASE("negative axes count from the end") {
  const Shape shape{3, 4, 5};
  const std::vector<double> values = random_values(shape, 8);
  CHECK(projected(UnitNorm{.axes = {-1, -3}}, shape, values) ==
        projected(UnitNorm{.axes = {0, 2}}, shape, values));
}

TEST_CASE("samples by hand") {
  // Columns of norm 5 and 0.5: w * desired / (1e-7 + norm).
  const Shape shape{2, 2};
  const std::vector<double> values{3.0, -0.3, 4.0, 0.4};
  const auto check = [&](const Constraint& constraint, const std::vector<double>& expected) {
    CAPTURE(to_string(constraint));
    CHECK(distance(projected(constraint, shape, values), expected) < 1e-15);
  };
  check(MaxNorm{}, {1.19999997600000048, -0.299999940000012, 1.59999996800000064,  //
                    0.399999920000016});
  check(UnitNorm{}, {0.59999998800000024, -0.599999880000024, 0.79999998400000032,  //
                     0.799999840000032});
  check(MinMaxNorm{.min_value = 1.0, .max_value = 3.0, .rate = 0.5},
        {2.39999995200000096, -0.449999910000018, 3.19999993600000128, 0.599999880000024});
  check(NonNeg{}, {3.0, 0.0, 4.0, 0.4});
}

TEST_CASE("zeros stay zeros, and what is not a number is not hidden") {
  const Constraint all[] = {MaxNorm{}, NonNeg{}, UnitNorm{}, MinMaxNorm{.min_value = 1.0}};
  for (const Constraint& constraint : all) {
    CAPTURE(to_string(constraint));
    CHECK(projected(constraint, {2, 1}, {0.0, 0.0}) == std::vector<double>{0.0, 0.0});
    CHECK(std::isnan(projected(constraint, {2, 1}, {std::nan(""), 1.0})[0]));
    CHECK(projected(constraint, {2, 0}, {}).empty());
  }
}

TEST_CASE("a function of one's own is told the shape") {
  const ConstraintFunction last_row_only{
      .name = "last_row_only", .project = [](std::span<double> values, const Shape& shape) {
        std::ranges::fill(values.first(static_cast<std::size_t>((shape[0] - 1) * shape[1])), 0.0);
      }};
  CHECK(projected(last_row_only, {2, 2}, {1, 2, 3, 4}) == std::vector<double>{0, 0, 3, 4});
}

TEST_CASE("projections take nothing from the heap") {
  const Shape shape{6, 100};
  std::vector<double> values = random_values(shape, 9);
  const Constraint constraints[] = {MaxNorm{.axes = {0, 1}}, NonNeg{}, UnitNorm{}, MinMaxNorm{}};
  const std::int64_t before = num_allocations();
  for (const Constraint& constraint : constraints) project(constraint, shape, values);
  CHECK(num_allocations() == before);
}

TEST_CASE("constraints say what they are") {
  CHECK(to_string(Constraint{}) == "none");
  CHECK(to_string(Constraint(MaxNorm{.axes = {0, 1, 2}})) == "max_norm(2, axes 0 1 2)");
  CHECK(to_string(Constraint(NonNeg{})) == "non_neg");
  CHECK(to_string(Constraint(UnitNorm{})) == "unit_norm(axes 0)");
  CHECK(to_string(Constraint(MinMaxNorm{.rate = 0.5})) == "min_max_norm(0, 1, rate 0.5, axes 0)");
  CHECK(to_string(Constraint(ConstraintFunction{.name = "mine"})) == "function(mine)");
}

TEST_CASE("impossible constraints are refused and change nothing") {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto nothing = [](std::span<double>, const Shape&) {};
  const std::vector<std::pair<Constraint, std::string>> wrong{
      {MaxNorm{.max_value = -1.0}, "max_value >= 0, got -1"},
      {MaxNorm{.max_value = infinity}, "finite max_value"},
      {MaxNorm{.axes = {2}}, "axis 2 of the shape [2, 2]"},
      {MaxNorm{.axes = {-3}}, "axis -3 of the shape [2, 2]"},
      {MaxNorm{.axes = {}}, "at least one axis"},
      {UnitNorm{.axes = {0, -2}}, "axis 0 twice"},
      {MinMaxNorm{.min_value = std::nan("")}, "min_value >= 0"},
      {MinMaxNorm{.min_value = 2.0, .max_value = 1.0}, "min_value <= max_value, got 2 and 1"},
      {MinMaxNorm{.rate = 1.5}, "rate in [0, 1], got 1.5"},
      {MinMaxNorm{.rate = std::nan("")}, "rate in [0, 1]"},
      {MinMaxNorm{.axes = {2}}, "axis 2"},
      {ConstraintFunction{.name = "mine"}, "'mine' needs project"},
      {ConstraintFunction{.project = nothing}, "name"}};
  for (const auto& [constraint, message] : wrong) {
    CAPTURE(to_string(constraint));
    std::vector<double> values{3.0, -0.3, 4.0, 0.4};
    CHECK_THROWS_AS(validate(constraint, {2, 2}), ArgumentError);
    CHECK_THROWS_WITH(project(constraint, {2, 2}, values), Catch::Contains(message));
    CHECK(values == std::vector<double>{3.0, -0.3, 4.0, 0.4});
  }
  CHECK_THROWS_AS(validate(UnitNorm{}, Shape{}), ArgumentError);
  CHECK_NOTHROW(validate(NonNeg{}, Shape{}));
  std::vector<double> values(3);
  CHECK_THROWS_WITH(project(NonNeg{}, {2, 2}, values), Catch::Contains("3 values"));
}
