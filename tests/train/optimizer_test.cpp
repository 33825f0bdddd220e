// Optimizers: steps by hand, laws of all of them, errors.

#include "lockstep/train/optimizer.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

Variable parameter(std::string name, std::vector<double> values, DType dtype = DType::float64) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  Variable variable(std::move(name), Tensor(shape, dtype), VariableRole::parameter);
  variable.assign(view(std::as_const(values), shape));
  return variable;
}

template <class T = double>
void set_gradient(Variable& variable, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    variable.grad().values<T>()[i] = static_cast<T>(values[i]);
}

double first_of(const Variable& variable) { return variable.value().values<double>()[0]; }

// Values of a parameter that starts at 1 and gets these gradients one after another.
std::vector<double> trajectory(Optimizer& optimizer, const std::vector<double>& gradients) {
  Variable w = parameter("w", {1.0});
  optimizer.prepare(std::vector{&w});
  std::vector<double> values;
  for (const double gradient : gradients) {
    set_gradient(w, {gradient});
    optimizer.apply();
    values.push_back(first_of(w));
  }
  return values;
}

std::vector<std::unique_ptr<Optimizer>> optimizers(std::optional<double> clip_norm = {}) {
  std::vector<std::unique_ptr<Optimizer>> result;
  result.push_back(std::make_unique<Sgd>(SgdOptions{.learning_rate = 0.1, .clip_norm = clip_norm}));
  result.push_back(std::make_unique<Sgd>(
      SgdOptions{.learning_rate = 0.05, .momentum = 0.8, .clip_norm = clip_norm}));
  result.push_back(std::make_unique<Sgd>(SgdOptions{
      .learning_rate = 0.05, .momentum = 0.8, .nesterov = true, .clip_norm = clip_norm}));
  result.push_back(
      std::make_unique<Adam>(AdamOptions{.learning_rate = 0.05, .clip_norm = clip_norm}));
  return result;
}

// Minimizes 1/2 sum c_i (w_i - i)^2 and returns w.
template <class T>
std::vector<double> minimize(Optimizer& optimizer, int num_steps) {
  Variable w = parameter("w", {4.0, -3.0, 0.5}, dtype_of<T>());
  optimizer.prepare(std::vector{&w});
  const std::vector<double> curvature{1.0, 3.0, 0.5};
  for (int step = 0; step < num_steps; ++step) {
    for (std::size_t i = 0; i < 3; ++i)
      w.grad().values<T>()[i] = static_cast<T>(
          curvature[i] * (static_cast<double>(w.value().values<T>()[i]) - static_cast<double>(i)));
    optimizer.apply();
  }
  const auto values = std::as_const(w).value().values<T>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("steps are those of the formulas") {
  const std::vector<double> gradients{1.0, -0.5};
  Sgd plain({.learning_rate = 0.1});
  REQUIRE(distance(trajectory(plain, gradients), std::vector{0.9, 0.95}) < 1e-15);
  // velocity: -0.1, then 0.9 * -0.1 + 0.05 = -0.04
  Sgd momentum({.learning_rate = 0.1, .momentum = 0.9});
  REQUIRE(distance(trajectory(momentum, gradients), std::vector{0.9, 0.86}) < 1e-15);
  // changes: 0.9 * -0.1 - 0.1 = -0.19, then 0.9 * -0.04 + 0.05 = 0.014
  Sgd nesterov({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
  REQUIRE(distance(trajectory(nesterov, gradients), std::vector{0.81, 0.824}) < 1e-15);
  // m: 0.5, 0; v: 0.25, 0.25; second step: rate * 0
  Adam adam({.learning_rate = 0.1, .beta_1 = 0.5, .beta_2 = 0.75, .epsilon = 0.5});
  const double first = 1.0 - 0.1 * std::sqrt(0.25) / 0.5 * 0.5 / (0.5 + 0.5);
  REQUIRE(distance(trajectory(adam, gradients), std::vector{first, first}) < 1e-15);
}

TEST_CASE("the first step of Adam is the learning rate against the gradient's sign") {
  for (const double gradient : {1e-3, -7.0, 1e5}) {
    Adam adam({.learning_rate = 0.01});
    const double change = trajectory(adam, {gradient})[0] - 1.0;
    REQUIRE(change == Approx(std::copysign(0.01, -gradient)).epsilon(0.01));
  }
}

TEST_CASE("every optimizer finds the minimum of a quadratic") {
  for (const auto& optimizer : optimizers()) {
    INFO(optimizer->configuration());
    REQUIRE(distance(minimize<double>(*optimizer, 2000), std::vector{0.0, 1.0, 2.0}) < 1e-6);
    REQUIRE(optimizer->num_steps() == 2000);
  }
}

TEST_CASE("float32 parameters follow the trajectory of float64 ones") {
  for (const auto& optimizer : optimizers()) {
    INFO(optimizer->configuration());
    REQUIRE(distance(minimize<float>(*optimizer, 50), minimize<double>(*optimizer, 50)) < 2e-6);
  }
}

TEST_CASE("clipping scales all gradients by their common norm") {
  Variable a = parameter("a", {0.0, 0.0});
  Variable b = parameter("b", {0.0}, DType::float32);
  Variable frozen = parameter("frozen", {0.0});
  frozen.set_trainable(false);
  Sgd sgd({.learning_rate = 1.0, .clip_norm = 1.0});
  sgd.prepare(std::vector{&a, &b, &frozen});
  set_gradient(a, {2.0, -4.0});
  set_gradient<float>(b, {4.0});
  set_gradient(frozen, {100.0});  // no part of the norm, which is 6
  sgd.apply();
  REQUIRE(distance(a.value().values<double>(), std::vector{-1.0 / 3.0, 2.0 / 3.0}) < 1e-15);
  REQUIRE(b.value().values<float>()[0] == static_cast<float>(-2.0 / 3.0));
  REQUIRE(a.grad().values<double>()[0] == 2.0);  // applied on the fly
}

TEST_CASE("gradients within the clip norm are not changed by it") {
  auto clipped = optimizers(5.0);
  auto plain = optimizers();
  for (std::size_t i = 0; i < plain.size(); ++i)
    REQUIRE(trajectory(*clipped[i], {3.0, -5.0, 4.0}) == trajectory(*plain[i], {3.0, -5.0, 4.0}));
}

TEST_CASE("a frozen variable keeps its value and state") {
  for (const auto& optimizer : optimizers()) {
    INFO(optimizer->configuration());
    const auto slots = [&] {
      std::vector<double> values;
      for (const auto& state : optimizer->state())
        if (state.name != "num_steps") values.push_back(state.value->values<double>()[0]);
      return values;
    };
    Variable w = parameter("w", {1.0});
    optimizer->prepare(std::vector{&w});
    set_gradient(w, {0.5});
    optimizer->apply();
    const double value_before = first_of(w);
    const auto slots_before = slots();
    w.set_trainable(false);
    optimizer->apply();
    REQUIRE(first_of(w) == value_before);
    REQUIRE(slots() == slots_before);
    w.set_trainable(true);
    optimizer->apply();
    REQUIRE(first_of(w) != value_before);
  }
}

TEST_CASE("parameters of 16 bits are refused") {
  for (const DType dtype : {DType::float16, DType::bfloat16}) {
    Variable w = parameter("w", {1.0}, dtype);
    Sgd sgd;
    CHECK_THROWS_AS(sgd.prepare(std::vector{&w}), ArgumentError);
  }
}

TEST_CASE("statistics are left alone") {
  Variable statistic("moving_mean", Tensor({2}), VariableRole::statistic);
  Sgd sgd({.momentum = 0.9});
  sgd.prepare(std::vector{&statistic});
  sgd.apply();
  REQUIRE(sgd.state().size() == 1);
}

TEST_CASE("copied state continues with the same bits") {
  for (std::size_t i = 0; i < optimizers().size(); ++i) {
    const auto original = std::move(optimizers()[i]);
    const auto resumed = std::move(optimizers()[i]);
    INFO(original->configuration());
    Variable w = parameter("w", {1.0, 2.0}, DType::float32);
    original->prepare(std::vector{&w});
    for (const double gradient : {1.0, 0.3}) {
      set_gradient<float>(w, {gradient, -gradient});
      original->apply();
    }
    Variable other = parameter("w", {0.0, 0.0}, DType::float32);
    other.assign(w.value());
    resumed->prepare(std::vector{&other});
    const auto source = original->state();
    const auto target = resumed->state();
    REQUIRE(source.size() == target.size());
    for (std::size_t k = 0; k < source.size(); ++k) {
      REQUIRE(source[k].name == target[k].name);
      *target[k].value = *source[k].value;
    }
    for (Variable* variable : {&w, &other}) set_gradient<float>(*variable, {-2.0, 0.7});
    original->apply();
    resumed->apply();
    REQUIRE(distance(other.value().values<float>(), w.value().values<float>()) == 0.0);
  }
}

TEST_CASE("state is listed by name") {
  Variable kernel = parameter("dense/kernel", {1.0, 2.0}, DType::float32);
  Variable bias = parameter("dense/bias", {1.0});
  Adam adam;
  REQUIRE(adam.state().empty());
  adam.prepare(std::vector{&kernel, &bias});
  std::vector<std::string> names;
  for (const auto& state : adam.state()) names.push_back(state.name);
  REQUIRE(names == std::vector<std::string>{"num_steps", "dense/kernel/first_moment",
                                            "dense/kernel/second_moment", "dense/bias/first_moment",
                                            "dense/bias/second_moment"});
  REQUIRE(adam.state()[1].value->dtype() == DType::float32);
  REQUIRE(adam.state()[3].value->dtype() == DType::float64);
}

TEST_CASE("a step allocates nothing") {
  for (const auto& optimizer : optimizers(1.0)) {
    INFO(optimizer->configuration());
    Variable w = parameter("w", {1.0, 2.0}, DType::float32);
    optimizer->prepare(std::vector{&w});
    set_gradient<float>(w, {3.0, 4.0});
    const auto before = num_allocations();
    optimizer->apply();
    const auto after = num_allocations();
    REQUIRE(before > 0);
    REQUIRE(after == before);
  }
}

TEST_CASE("bad options are refused when prepared, not when constructed") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  Variable w = parameter("w", {1.0});
  const std::vector<Variable*> variables{&w};
  const auto refusal = [&](Optimizer&& optimizer) -> std::string {
    try {
      optimizer.prepare(variables);
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "accepted";
  };
  REQUIRE_THAT(refusal(Sgd({.learning_rate = -0.1})),
               Contains("learning_rate") && Contains("-0.1"));
  REQUIRE_THAT(refusal(Sgd({.learning_rate = nan})), Contains("learning_rate"));
  REQUIRE_THAT(refusal(Sgd({.momentum = 1.5})), Contains("momentum") && Contains("1.5"));
  REQUIRE_THAT(refusal(Sgd({.clip_norm = 0.0})), Contains("clip_norm"));
  REQUIRE_THAT(refusal(Adam({.beta_1 = 1.0})), Contains("beta_1"));
  REQUIRE_THAT(refusal(Adam({.beta_2 = -1.0})), Contains("beta_2"));
  REQUIRE_THAT(refusal(Adam({.epsilon = 0.0})), Contains("epsilon"));
  REQUIRE(refusal(Sgd({.learning_rate = 0.0, .momentum = 1.0})) == "accepted");

  Sgd sgd;
  REQUIRE_THROWS_AS(sgd.set_learning_rate(nan), ArgumentError);
  sgd.set_learning_rate(0.5);
  REQUIRE(sgd.learning_rate() == 0.5);
  sgd.apply();  // nothing is prepared: nothing happens
  REQUIRE(sgd.num_steps() == 0);
}
