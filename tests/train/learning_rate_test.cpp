// The learning rate as steps go on, and what optimizers make of it.

#include "lockstep/train/learning_rate.hpp"

#include <cmath>
#include <limits>

#include "lockstep/base/error.hpp"
#include "lockstep/train/optimizer.hpp"
#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("a constant stays, and a decay drops after every interval") {
  const LearningRate constant = 0.25;
  const LearningRate decay = StepDecay{.initial = 0.5, .factor = 0.25, .interval = 3};
  for (const std::int64_t step : {0, 1, 2, 3, 100}) CHECK(constant.at(step) == 0.25);
  for (std::int64_t step = 0; step < 12; ++step) {
    const auto num_drops = static_cast<double>(step / 3);
    CHECK(decay.at(step) == 0.5 * std::pow(0.25, num_drops));
  }
  CHECK(to_string(constant) == "0.25");
  CHECK(to_string(decay) == "0.5, times 0.25 every 3 steps");
}

TEST_CASE("a rate that cannot be used is refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const StepDecay& decay :
       {StepDecay{-1.0, 0.1, 1}, StepDecay{nan, 0.1, 1}, StepDecay{0.1, -0.1, 1},
        StepDecay{0.1, HUGE_VAL, 1}, StepDecay{0.1, 0.1, 0}}) {
    CHECK_THROWS_AS(validate(decay), ArgumentError);
    Sgd optimizer({.learning_rate = decay});
    CHECK_THROWS_AS(optimizer.prepare({}), ArgumentError);
    CHECK_THROWS_AS(optimizer.set_learning_rate(decay), ArgumentError);
  }
  CHECK_NOTHROW(validate(StepDecay{0.0, 0.0, 1}));
}

TEST_CASE("a step is made with the rate of the steps before it") {
  Variable variable("w", Tensor({1}, DType::float64), VariableRole::parameter);
  Variable* const pointer = &variable;
  Sgd optimizer({.learning_rate = StepDecay{.initial = 1.0, .factor = 0.5, .interval = 2}});
  optimizer.prepare({&pointer, 1});
  variable.grad().values<double>()[0] = -1.0;
  double expected = 0.0;
  for (const double rate : {1.0, 1.0, 0.5, 0.5, 0.25}) {
    CHECK(optimizer.learning_rate() == rate);
    optimizer.apply();
    expected += rate;
    CHECK(variable.value().values<double>()[0] == expected);
  }
  optimizer.set_learning_rate(0.125);
  CHECK(optimizer.learning_rate() == 0.125);
}
