// Variables: a value with a name and a role, and a gradient where it is trained.

#include "lockstep/params/variable.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

std::string complaint_about(Variable& variable, const TensorView& source) {
  try {
    variable.assign(source);
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("variable: only a parameter has a gradient and is trained") {
  Variable parameter("dense/kernel", Tensor({2, 3}, DType::float64), VariableRole::parameter);
  CHECK(parameter.is_trainable());
  CHECK(parameter.grad().shape() == Shape{2, 3});
  CHECK(parameter.grad().dtype() == DType::float64);
  CHECK(std::ranges::count(parameter.grad().values<double>(), 0.0) == 6);

  for (const VariableRole role : {VariableRole::statistic, VariableRole::state}) {
    Variable other("bn/moving_mean", Tensor({3}), role);
    CHECK_FALSE(other.is_trainable());
    CHECK(other.grad().is_null());
    other.set_trainable(true);
    CHECK_FALSE(other.is_trainable());
  }
}

TEST_CASE("variable: freezing ends training and can be undone") {
  Variable variable("v", Tensor({1}), VariableRole::parameter);
  variable.set_trainable(false);
  CHECK_FALSE(variable.is_trainable());
  variable.set_trainable(true);
  CHECK(variable.is_trainable());
}

TEST_CASE("variable: name, role, shape and dtype are those it was made with") {
  const Variable variable("bn/gamma", Tensor({4}, DType::float64), VariableRole::parameter);
  CHECK(variable.name() == "bn/gamma");
  CHECK(variable.role() == VariableRole::parameter);
  CHECK(variable.shape() == Shape{4});
  CHECK(variable.dtype() == DType::float64);
  CHECK(variable.num_elements() == 4);
}

TEST_CASE("variable: a gradient is local until somebody summed it") {
  Variable variable("v", Tensor({1}), VariableRole::parameter);
  CHECK(variable.gradient_scope() == GradientScope::local);
  variable.set_gradient_scope(GradientScope::global);
  CHECK(variable.gradient_scope() == GradientScope::global);
}

TEST_CASE("variable: value and gradient are memory of their own") {
  Variable variable("v", Tensor({2}), VariableRole::parameter);
  variable.value().values<float>()[0] = 3.0F;
  CHECK(variable.grad().values<float>()[0] == 0.0F);
  CHECK(std::as_const(variable).value().values<float>()[0] == 3.0F);
}

TEST_CASE("variable: assigning converts between floating dtypes by rounding") {
  const std::vector<double> values{0.1, -1e30, 16'777'217.0};
  Variable narrow("v", Tensor({3}), VariableRole::parameter);
  narrow.assign(view(values, {3}));
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(narrow.value().values<float>()[i] == static_cast<float>(values[i]));

  Variable wide("w", Tensor({3}, DType::float64), VariableRole::parameter);
  wide.assign(narrow.value());
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(wide.value().values<double>()[i] == static_cast<double>(static_cast<float>(values[i])));

  const std::vector<BFloat16> short_numbers(3, BFloat16(0.1));
  narrow.assign(view(short_numbers, {3}));
  CHECK(narrow.value().values<float>()[0] == static_cast<float>(BFloat16(0.1)));
}

TEST_CASE("variable: assigning its own value changes nothing, an integer one works") {
  const std::vector<std::int64_t> values{1, std::int64_t{1} << 60};
  Variable count("bn/num_updates", Tensor({2}, DType::int64), VariableRole::state);
  count.assign(view(values, {2}));
  count.assign(count.value());
  CHECK(std::ranges::equal(count.value().values<std::int64_t>(), values));
  Variable empty("e", Tensor({0, 3}), VariableRole::state);
  CHECK_NOTHROW(empty.assign(empty.value()));
}

TEST_CASE("variable: what does not fit is refused by name and changes nothing") {
  Variable variable("dense/kernel", Tensor({2, 3}), VariableRole::parameter);
  variable.value().values<float>()[5] = 7.0F;
  const std::vector<float> values(6, 1.0F);
  CHECK(complaint_about(variable, view(values, {3, 2})) ==
        "variable 'dense/kernel' has the shape [2, 3]; values of shape [3, 2] were given");
  CHECK(complaint_about(variable, view(values, {6})) ==
        "variable 'dense/kernel' has the shape [2, 3]; values of shape [6] were given");
  CHECK(complaint_about(variable, view(std::vector<std::int64_t>(6), {2, 3})) ==
        "variable 'dense/kernel' holds float32; values of int64 were given");
  CHECK_THAT(complaint_about(variable, view(std::span(values).first(5), {2, 3})),
             Catch::Contains("dense/kernel"));
  CHECK(variable.value().values<float>()[5] == 7.0F);
  CHECK(variable.value().values<float>()[0] == 0.0F);
}

}  // namespace
}  // namespace lockstep
