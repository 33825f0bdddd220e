#include "lockstep/layers/dense.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Function = ActivationFunction;

// A layer none of whose variables is zero.
DenseOptions options_of(Function activation, bool use_bias, DType dtype = DType::float64) {
  return {.units = 3,
          .activation = activation,
          .use_bias = use_bias,
          .bias_initializer = RandomUniform{.minimum = -1.0, .maximum = 1.0, .seed = 4},
          .dtype = dtype};
}

void assign(Layer& layer, std::string_view name, const std::vector<double>& values) {
  layer.variable(name).assign(view(values, layer.variable(name).shape()));
}

// y = [x0 + 2 x1 + 0.5, 3 x0 + 4 x1 - 0.5]
Dense sample_layer(Function activation) {
  Dense dense({.units = 2, .activation = activation, .dtype = DType::float64});
  dense.build({1, 2});
  assign(dense, "kernel", {1.0, 3.0, 2.0, 4.0});
  assign(dense, "bias", {0.5, -0.5});
  return dense;
}

}  // namespace

TEST_CASE("gradients of dense layers are those of finite differences") {
  for (const Function activation :
       {Function::linear, Function::relu, Function::relu6, Function::leaky_relu, Function::elu,
        Function::sigmoid, Function::tanh, Function::gelu, Function::silu})
    for (const bool use_bias : {true, false})
      for (const Shape& shape : {Shape{5, 4}, Shape{3, 2, 4}}) {
        CAPTURE(name_of(activation), use_bias, to_string(shape));
        Dense dense(options_of(activation, use_bias));
        dense.build(shape);
        CHECK(gradient_error(dense, random_tensor(shape, 1)) < 1e-9);
      }
}

TEST_CASE("dense layers obey the laws of layers") {
  for (const Function activation : {Function::linear, Function::gelu}) {
    const auto make = [&](DType dtype) {
      return std::make_unique<Dense>(options_of(activation, true, dtype));
    };
    check_layer(make, random_tensor({6, 5}, 2));
    check_layer(make, random_tensor({4, 3, 5}, 2));
  }
}

TEST_CASE("a batch may be cut between dense layers that share it") {
  for (const Function activation : {Function::linear, Function::tanh}) {
    Dense dense(options_of(activation, true));
    dense.build({1, 5});
    check_cut_law(dense, random_tensor({13, 5}, 3), 1e-14);
  }
}

TEST_CASE("a dense layer computes what a hand computes") {
  Dense dense = sample_layer(Function::relu);
  const auto tape = dense.make_tape();
  const Tensor x = Tensor::of<double>(std::vector{1.0, 2.0, -1.0, 0.5}, {2, 2});
  const Tensor y = output_of(dense, x, {.mode = Mode::training, .tape = tape.get()});
  // Before relu: 5.5, 10.5 and 0.5, -1.5.
  CHECK(is_identical(y, Tensor::of<double>(std::vector{5.5, 10.5, 0.5, 0.0}, {2, 2})));

  const std::vector<double> dy{1.0, 10.0, 100.0, 1000.0};
  Tensor dx({2, 2}, DType::float64);
  dense.backward(*tape, view(dy, {2, 2}), dx);
  CHECK(is_identical(dx, Tensor::of<double>(std::vector{31.0, 42.0, 100.0, 200.0}, {2, 2})));
  CHECK(is_identical(Tensor::copy_of(dense.variable("kernel").grad()),
                     Tensor::of<double>(std::vector{-99.0, 10.0, 52.0, 20.0}, {2, 2})));
  CHECK(is_identical(Tensor::copy_of(dense.variable("bias").grad()),
                     Tensor::of<double>(std::vector{101.0, 10.0}, {2})));
}

TEST_CASE("the output does not depend on whether a tape records") {
  Dense dense(options_of(Function::silu, true));
  dense.build({1, 4});
  const auto tape = dense.make_tape();
  const Tensor x = random_tensor({7, 4}, 5);
  CHECK(is_identical(output_of(dense, x), output_of(dense, x, {.tape = tape.get()})));
}

TEST_CASE("NaN passes through a dense layer with relu") {
  Dense dense = sample_layer(Function::relu);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor y = output_of(dense, Tensor::of<double>(std::vector{nan, 1.0}, {1, 2}));
  for (const double value : y.values<double>()) CHECK(std::isnan(value));
}

TEST_CASE("variables of dense layers have names, shapes and local gradients") {
  Dense dense({.units = 3, .name = "hidden"});
  dense.build({8, 5});
  const std::vector<Variable*> variables = dense.variables();
  REQUIRE(variables.size() == 2);
  CHECK(variables[0]->name() == "hidden/kernel");
  CHECK(variables[0]->shape() == Shape{5, 3});
  CHECK(variables[1]->name() == "hidden/bias");
  CHECK(variables[1]->shape() == Shape{3});
  for (const Variable* variable : variables) {
    CHECK(variable->dtype() == DType::float32);
    CHECK(variable->is_trainable());
    CHECK(variable->gradient_scope() == GradientScope::local);
  }
  Dense without({.units = 3, .use_bias = false, .trainable = false});
  without.build({8, 5});
  REQUIRE(without.variables().size() == 1);
  CHECK_FALSE(without.variables()[0]->is_trainable());
}

TEST_CASE("a moved dense layer goes on where it was, with the tapes it has") {
  Dense first(options_of(Function::tanh, true));
  first.build({1, 4});
  const auto tape = first.make_tape();
  const Tensor x = random_tensor({3, 4}, 6);
  const Tensor dy = random_tensor({3, 3}, 7);
  const Tensor y = output_of(first, x, {.tape = tape.get()});
  const Tensor dx = input_gradient_of(first, *tape, dy, x.shape());

  Dense second = std::move(first);
  CHECK(is_identical(input_gradient_of(second, *tape, dy, x.shape()), dx));
  Dense third;
  third = std::move(second);
  CHECK(is_identical(output_of(third, x), y));
  CHECK(gradient_error(third, x) < 1e-9);
}

TEST_CASE("impossible dense layers are refused when built") {
  CHECK_THROWS_AS(Dense().build({1, 4}), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = -1}).build({1, 4}), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = 2}).build({4}), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = 2}).build({1, 0}), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = 2}).build({1, -1}), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = 2, .dtype = DType::int64}).build({1, 4}), ArgumentError);
}

TEST_CASE("kernel and bias of a dense layer have their regularizers and constraints") {
  Dense dense({.units = 3,
               .kernel_regularizer = l1(0.1),
               .bias_regularizer = l2(0.2),
               .kernel_constraint = MaxNorm{},
               .bias_constraint = NonNeg{}});
  dense.build({1, 4});
  CHECK(to_string(dense.variable("kernel").regularizer()) == "l1(0.1)");
  CHECK(to_string(dense.variable("bias").regularizer()) == "l2(0.2)");
  CHECK(to_string(dense.variable("kernel").constraint()) == "max_norm(2, axes 0)");
  CHECK(to_string(dense.variable("bias").constraint()) == "non_neg");
}

TEST_CASE("impossible regularizers and constraints of dense layers are refused when built") {
  const auto check = [](const DenseOptions& options, const std::string& message) {
    Dense dense(options);
    CHECK_THROWS_AS(dense.build({1, 4}), ArgumentError);
    CHECK_THROWS_WITH(dense.build({1, 4}), Catch::Contains(message));
  };
  check({.units = 3, .kernel_regularizer = l1(-1.0)}, "'dense/kernel': a regularizer needs");
  check({.units = 3, .bias_regularizer = l2(NAN)}, "'dense/bias': a regularizer needs");
  check({.units = 3, .kernel_constraint = UnitNorm{.axes = {2}}}, "axis 2 of the shape [4, 3]");
  check({.units = 3, .bias_constraint = UnitNorm{.axes = {1}}}, "axis 1 of the shape [3]");
}

TEST_CASE("a dense layer refuses the tape of another one") {
  const Tensor x = random_tensor({2, 4}, 8);
  const Tensor dy = random_tensor({2, 3}, 9);
  Dense relu(options_of(Function::relu, true));
  relu.build({1, 4});

  Dense other_inputs(options_of(Function::relu, true));
  other_inputs.build({1, 5});
  const auto tape = other_inputs.make_tape();
  const Tensor wider = random_tensor({2, 5}, 8);
  (void)output_of(other_inputs, wider, {.tape = tape.get()});
  CHECK_THROWS_AS(relu.backward(*tape, dy, {}), StateError);

  Dense linear(options_of(Function::linear, true));
  linear.build({1, 4});
  const auto linear_tape = linear.make_tape();
  (void)output_of(linear, x, {.tape = linear_tape.get()});
  CHECK_THROWS_AS(relu.backward(*linear_tape, dy, {}), StateError);
}

TEST_CASE("the configuration of a dense layer tells all of its options") {
  const auto text = [](const DenseOptions& options) { return Dense(options).configuration(); };
  const std::string plain = text({.units = 3});
  CHECK(text({.units = 3}) == plain);
  CHECK(text({.units = 4}) != plain);
  CHECK(text({.units = 3, .activation = Function::relu}) != plain);
  CHECK(text({.units = 3, .use_bias = false}) != plain);
  CHECK(text({.units = 3, .kernel_initializer = he_normal()}) != plain);
  CHECK(text({.units = 3, .bias_initializer = Ones{}}) != plain);
  CHECK(text({.units = 3, .kernel_regularizer = l2()}) != plain);
  CHECK(text({.units = 3, .bias_regularizer = l2()}) != plain);
  CHECK(text({.units = 3, .kernel_constraint = NonNeg{}}) != plain);
  CHECK(text({.units = 3, .bias_constraint = NonNeg{}}) != plain);
  CHECK(text({.units = 3, .trainable = false}) != plain);
}
