#include "lockstep/layers/activation.hpp"

#include <limits>
#include <memory>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Function = ActivationFunction;

constexpr Function functions[]{Function::linear,     Function::relu, Function::relu6,
                               Function::leaky_relu, Function::elu,  Function::sigmoid,
                               Function::tanh,       Function::gelu, Function::silu};

// Numbers in [-8, 8), beyond both kinks of relu6.
Tensor wide_tensor(const Shape& shape) {
  Tensor result = random_tensor(shape, 1);
  for (double& value : result.values<double>()) value *= 8.0;
  return result;
}

}  // namespace

TEST_CASE("gradients of activations are those of finite differences") {
  for (const Function function : functions) {
    CAPTURE(name_of(function));
    Activation activation({.function = function, .dtype = DType::float64});
    activation.build({1, 5, 2});
    CHECK(gradient_error(activation, wide_tensor({7, 5, 2})) < 1e-9);
  }
}

TEST_CASE("activations obey the laws of layers") {
  for (const Function function : functions) {
    CAPTURE(name_of(function));
    check_layer(
        [&](DType dtype) {
          return std::make_unique<Activation>(
              ActivationOptions{.function = function, .dtype = dtype});
        },
        wide_tensor({4, 3, 2}));
  }
}

TEST_CASE("a batch may be cut between activations") {
  Activation activation({.function = Function::gelu, .dtype = DType::float64});
  activation.build({1, 3});
  check_cut_law(activation, wide_tensor({9, 3}), 0.0);
}

TEST_CASE("the slope of leaky_relu is an option") {
  Activation activation(
      {.function = Function::leaky_relu, .negative_slope = 0.5, .dtype = DType::float64});
  activation.build({1});
  const auto tape = activation.make_tape();
  const Tensor x = Tensor::of<double>(std::vector{-2.0, 2.0}, {2});
  const Tensor y = output_of(activation, x, {.tape = tape.get()});
  CHECK(is_identical(y, Tensor::of<double>(std::vector{-1.0, 2.0}, {2})));
  const Tensor dx = input_gradient_of(activation, *tape, x, x.shape());
  CHECK(is_identical(dx, Tensor::of<double>(std::vector{-1.0, 2.0}, {2})));
}

TEST_CASE("gradients of activations may share their memory") {
  Activation activation({.function = Function::silu, .dtype = DType::float64});
  activation.build({1, 3});
  const auto tape = activation.make_tape();
  const Tensor x = wide_tensor({4, 3});
  Tensor gradient = random_tensor({4, 3}, 2);
  (void)output_of(activation, x, {.tape = tape.get()});
  const Tensor expected = input_gradient_of(activation, *tape, gradient, x.shape());
  activation.backward(*tape, gradient, gradient);
  CHECK(is_identical(gradient, expected));
}

TEST_CASE("a moved activation goes on where it was") {
  Activation first({.function = Function::elu, .dtype = DType::float64});
  first.build({1, 3});
  const Tensor x = wide_tensor({4, 3});
  const Tensor y = output_of(first, x);
  Activation second = std::move(first);
  CHECK(is_identical(output_of(second, x), y));
}

TEST_CASE("impossible slopes are refused when built") {
  for (const double slope :
       {-0.1, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(Activation({.negative_slope = slope}).build({1, 3}), ArgumentError);
}

TEST_CASE("the configuration of an activation tells all of its options") {
  const std::string plain = Activation().configuration();
  CHECK(Activation({.function = Function::relu}).configuration() != plain);
  CHECK(Activation({.negative_slope = 0.1}).configuration() != plain);
}
