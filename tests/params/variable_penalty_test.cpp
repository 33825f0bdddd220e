// Regularizers and constraints of variables: where they act, and what they leave alone.

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/params/variable.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Constraint first_axis = MaxNorm{.max_value = 0.5};

Variable parameter(DType dtype = DType::float64) {
  const Tensor value = random_tensor({3, 4}, 1);
  Variable variable("dense/kernel", dtype == DType::float32 ? to_float32(value) : value,
                    VariableRole::parameter);
  write_from_double(random_tensor({3, 4}, 2).values<double>(), variable.grad());
  return variable;
}

std::vector<double> in_double(const TensorView& values) {
  std::vector<double> result(static_cast<std::size_t>(values.num_elements()));
  read_as_double(values, result);
  return result;
}

RegularizerFunction failing_regularizer() {
  return {.name = "failing",
          .penalty = [](std::span<const double>) -> double { throw std::runtime_error("boom"); },
          .add_gradient =
              [](std::span<const double>, std::span<double> gradient) {
                gradient[0] = 7.0;
                throw std::runtime_error("boom");
              }};
}

ConstraintFunction failing_constraint() {
  return {.name = "failing", .project = [](std::span<double> values, const Shape&) {
            values[0] = 7.0;
            throw std::runtime_error("boom");
          }};
}

}  // namespace

TEST_CASE("a variable's penalty, gradient and projection are those of its values in double") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Variable variable = parameter(dtype);
    variable.set_regularizer(l1_l2(0.3, 0.2));
    variable.set_constraint(first_axis);
    std::vector<double> values = in_double(variable.value());
    CHECK(regularization_loss(variable) == penalty(variable.regularizer(), values));

    std::vector<double> slope(values.size());
    add_penalty_gradient(variable.regularizer(), values, slope);
    std::vector<double> gradient = in_double(variable.grad());
    for (std::size_t i = 0; i < slope.size(); ++i)
      gradient[i] = rounded_to(dtype, gradient[i] + 0.5 * slope[i]);
    add_regularization_gradient(variable, 0.5);
    CHECK(in_double(variable.grad()) == gradient);

    project(variable.constraint(), variable.shape(), values);
    for (double& value : values) value = rounded_to(dtype, value);
    apply_constraint(variable);
    CHECK(in_double(variable.value()) == values);
    CHECK(in_double(variable.grad()) == gradient);
  }
}

TEST_CASE("without regularizer and constraint nothing is added or projected") {
  Variable variable = parameter();
  variable.set_regularizer(l2());
  variable.set_constraint(first_axis);
  variable.set_regularizer({});
  variable.set_constraint({});
  const std::vector<double> value = in_double(variable.value());
  const std::vector<double> gradient = in_double(variable.grad());
  CHECK(regularization_loss(variable) == 0.0);
  add_regularization_gradient(variable);
  apply_constraint(variable);
  CHECK(in_double(variable.value()) == value);
  CHECK(in_double(variable.grad()) == gradient);
}

TEST_CASE(
    "a frozen variable keeps its penalty and the gradient of it, but its value does not change") {
  Variable variable = parameter();
  variable.set_regularizer(l2());
  variable.set_constraint(first_axis);
  const double penalty_before = regularization_loss(variable);
  const std::vector<double> value = in_double(variable.value());
  Variable unfrozen = parameter();
  unfrozen.set_regularizer(l2());
  add_regularization_gradient(unfrozen);
  variable.set_trainable(false);
  CHECK(regularization_loss(variable) == penalty_before);
  add_regularization_gradient(variable);
  apply_constraint(variable);
  CHECK(in_double(variable.grad()) == in_double(unfrozen.grad()));
  CHECK(in_double(variable.value()) == value);
  variable.set_trainable(true);
  apply_constraint(variable);
  CHECK(in_double(variable.value()) != value);
}

TEST_CASE("the penalty of several variables is the sum of theirs") {
  Variable a = parameter(), b = parameter(DType::float32), c = parameter();
  a.set_regularizer(l1(0.1));
  b.set_regularizer(l2(0.2));
  const std::vector<Variable*> all{&a, &b, &c};
  CHECK(regularization_loss(all) == regularization_loss(a) + regularization_loss(b));
}

TEST_CASE("regularizers and constraints take nothing from the heap") {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const bool has_regularizer_first : {true, false}) {
      Variable variable = parameter(dtype);
      if (has_regularizer_first) variable.set_regularizer(l1_l2());
      variable.set_constraint(first_axis);
      variable.set_regularizer(l1_l2());
      const std::int64_t before = num_allocations();
      const double loss = regularization_loss(variable);
      add_regularization_gradient(variable);
      apply_constraint(variable);
      const std::int64_t count = num_allocations() - before;
      CHECK(loss > 0.0);
      CHECK(count == 0);
    }
}

TEST_CASE("functions that throw leave gradient and value as they were") {
  Variable variable = parameter();
  variable.set_regularizer(failing_regularizer());
  variable.set_constraint(failing_constraint());
  const std::vector<double> value = in_double(variable.value());
  const std::vector<double> gradient = in_double(variable.grad());
  CHECK_THROWS_WITH(regularization_loss(variable), "boom");
  CHECK_THROWS_WITH(add_regularization_gradient(variable), "boom");
  CHECK_THROWS_WITH(apply_constraint(variable), "boom");
  CHECK(in_double(variable.value()) == value);
  CHECK(in_double(variable.grad()) == gradient);
}

TEST_CASE("what a variable cannot have is refused by name, and what it had stays") {
  Variable variable = parameter();
  variable.set_regularizer(l2(0.5));
  variable.set_constraint(first_axis);
  CHECK_THROWS_AS(variable.set_regularizer(l1(-1.0)), ArgumentError);
  CHECK_THROWS_WITH(variable.set_regularizer(l1(-1.0)), Catch::Contains("dense/kernel"));
  CHECK_THROWS_WITH(variable.set_constraint(UnitNorm{.axes = {2}}),
                    "variable 'dense/kernel': a norm cannot run along axis 2 of the shape [3, 4]");
  CHECK(to_string(variable.regularizer()) == "l2(0.5)");
  CHECK(to_string(variable.constraint()) == to_string(first_axis));

  Variable statistic("bn/moving_mean", Tensor({3}), VariableRole::statistic);
  Variable integers("n", Tensor({3}, DType::int64), VariableRole::parameter);
  for (Variable* other : {&statistic, &integers}) {
    CHECK_THROWS_AS(other->set_regularizer(l2()), ArgumentError);
    CHECK_THROWS_AS(other->set_constraint(NonNeg{}), ArgumentError);
    CHECK_NOTHROW(other->set_regularizer({}));
    CHECK_NOTHROW(other->set_constraint({}));
    CHECK(regularization_loss(*other) == 0.0);
  }
}
