// Passes through a model of one process.

#include "lockstep/model/sequential.hpp"

#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "model/toy_layers.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

const Call training{.mode = Mode::training, .commit = Commit::by_caller};

// Three scales around two that widen: [samples, 3] to [samples, 12].
Sequential tall_model(std::optional<Shape> input_shape = Shape{3}) {
  Sequential model({.dtype = DType::float64, .seed = 5});
  model.add(Scale({.input_shape = input_shape})).add(Twice()).add(Scale());
  model.add(Twice()).add(Scale());
  return model;
}

Sequential built_model() {
  Sequential model = tall_model();
  model.build();
  return model;
}

std::vector<double> gradients_of(Sequential& model) {
  std::vector<double> gradients;
  for (Variable* variable : model.variables())
    if (variable->role() == VariableRole::parameter)
      for (const double value : variable->grad().values<double>()) gradients.push_back(value);
  return gradients;
}

double num_seen(Sequential& model) {
  return model.variable("scale/num_seen").value().values<double>()[0];
}

}  // namespace

TEST_CASE("a model is the composition of its layers, to the bit") {
  Sequential model = tall_model();
  model.build();
  Sequential parts = tall_model();
  parts.build();
  Tensor x = random_tensor({4, 3}, 1);
  const Tensor& y = model.forward(x, training);

  std::vector<Tensor> activations{x};
  std::vector<std::unique_ptr<Tape>> tapes;
  for (Layer* layer : parts.layers()) {
    const Tensor& input = activations.back();
    Tensor output(layer->output_shape(input.shape()), DType::float64);
    tapes.push_back(layer->make_tape());
    Call call = training;
    call.tape = tapes.back().get();
    layer->forward(input, output, call);
    // The tape refers to memory that moves with the tensor when the vector grows.
    activations.push_back(std::move(output));
  }
  REQUIRE(y.shape() == Shape{4, 12});
  REQUIRE(distance(y.values<double>(), activations.back().values<double>()) == 0.0);

  Tensor gradient = random_tensor({4, 12}, 2);
  Tensor dx({4, 3}, DType::float64);
  model.backward(gradient, Gradients::overwrite, dx);
  for (std::size_t i = 5; i-- > 0;) {
    Tensor below(activations[i].shape(), DType::float64);
    parts.layers()[i]->backward(*tapes[i], gradient, below);
    gradient = std::move(below);
  }
  REQUIRE(distance(dx.values<double>(), gradient.values<double>()) == 0.0);
  REQUIRE(gradients_of(model) == gradients_of(parts));
}

TEST_CASE("gradients are those of finite differences") {
  Sequential model = built_model();
  Tensor x = random_tensor({4, 3}, 1);
  const Tensor weights = random_tensor({4, 12}, 2);
  const auto loss = [&] { return inner_product_of(weights, model.predict(x)); };
  Tensor dx({4, 3}, DType::float64);
  model.forward(x, training);
  model.backward(weights, Gradients::overwrite, dx);
  REQUIRE(distance(dx.values<double>(), differences_of(x.values<double>(), loss)) < 1e-8);
  for (const char* name : {"scale/factor", "scale_1/factor", "scale_2/factor"}) {
    INFO(name);
    Variable& factor = model.variable(name);
    REQUIRE(distance(std::as_const(factor).grad().values<double>(),
                     differences_of(factor.value().values<double>(), loss)) < 1e-8);
  }
}

TEST_CASE("gradients are overwritten or accumulated") {
  Sequential model = built_model();
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor dy = random_tensor({4, 12}, 2);
  model.forward(x, training);
  model.backward(dy);
  const auto once = gradients_of(model);
  model.backward(dy);
  REQUIRE(gradients_of(model) == once);
  model.backward(dy, Gradients::accumulate);
  auto twice = once;
  for (double& value : twice) value *= 2.0;
  REQUIRE(distance(gradients_of(model), twice) < 1e-15);
}

TEST_CASE("inference between forward and backward changes nothing") {
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor dy = random_tensor({4, 12}, 2);
  Sequential undisturbed = built_model();
  const Tensor expected = undisturbed.forward(x, training);
  undisturbed.backward(dy);

  Sequential model = built_model();
  const Tensor& y = model.forward(x, training);
  const Tensor other = model.predict(random_tensor({9, 3}, 3));
  REQUIRE(other.shape() == Shape{9, 12});
  REQUIRE(distance(y.values<double>(), expected.values<double>()) == 0.0);
  model.backward(dy);
  REQUIRE(gradients_of(model) == gradients_of(undisturbed));
}

TEST_CASE("predict gives a copy, before build too") {
  Sequential model = tall_model();
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor first = model.predict(x);
  const Tensor kept = first;
  static_cast<void>(model.predict(random_tensor({4, 3}, 2)));
  REQUIRE(distance(first.values<double>(), kept.values<double>()) == 0.0);
  model.build();
  REQUIRE(distance(model.predict(x).values<double>(), kept.values<double>()) == 0.0);
  REQUIRE(distance(model.forward(x, training).values<double>(), kept.values<double>()) == 0.0);
}

TEST_CASE("what was learned becomes state when committed, once") {
  Sequential model = built_model();
  const Tensor x = random_tensor({4, 3}, 1);
  model.commit();  // nothing is recorded
  model.forward(x, training);
  REQUIRE(num_seen(model) == 0.0);
  model.commit();
  model.commit();
  REQUIRE(num_seen(model) == 4.0);
  model.forward(x, {.mode = Mode::training});  // at once
  REQUIRE(num_seen(model) == 8.0);
  static_cast<void>(model.predict(x));
  model.commit();
  REQUIRE(num_seen(model) == 8.0);
}

TEST_CASE("a step allocates nothing once the largest batch was seen") {
  Sequential model = built_model();
  const Tensor x = random_tensor({8, 3}, 1);
  const Tensor dy = random_tensor({8, 12}, 2);
  Tensor dx({8, 3}, DType::float64);
  const auto step = [&](std::int64_t size) {
    const auto before = num_allocations();
    model.forward(TensorView(x).rows(0, size), training);
    model.backward(TensorView(dy).rows(0, size), Gradients::overwrite,
                   MutableTensorView(dx).rows(0, size));
    model.commit();
    model.forward(TensorView(x).rows(0, size), {.mode = Mode::inference});
    return num_allocations() - before;
  };
  REQUIRE(step(8) > 0);
  for (const std::int64_t size : {8, 3, 0, 8}) REQUIRE(step(size) == 0);
}

TEST_CASE("an empty batch has an empty output and gradients of zero") {
  Sequential model = built_model();
  const Tensor& y = model.forward(Tensor({0, 3}, DType::float64), training);
  REQUIRE(y.shape() == Shape{0, 12});
  model.backward(Tensor({0, 12}, DType::float64));
  REQUIRE(gradients_of(model) == std::vector<double>(3 + 6 + 12));
}

TEST_CASE("calls that do not fit the state are refused") {
  Sequential model = tall_model();
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor dy = random_tensor({4, 12}, 2);
  REQUIRE_THROWS_WITH(model.forward(x, training), Contains("not built"));
  REQUIRE_THROWS_AS(model.backward(dy), StateError);
  model.build();
  REQUIRE_THROWS_AS(model.backward(dy), StateError);
  static_cast<void>(model.predict(x));
  REQUIRE_THROWS_WITH(model.backward(dy), Contains("no recorded call"));
  model.forward(x, training);
  REQUIRE_THROWS_AS(model.forward(random_tensor({4, 5}, 1), training), ArgumentError);
  REQUIRE_THROWS_AS(model.backward(dy), StateError);  // the failed call left no record
  model.commit();
  REQUIRE(num_seen(model) == 0.0);
}

TEST_CASE("what fails in a layer names it") {
  Sequential model = built_model();
  REQUIRE_THROWS_WITH(model.forward(Tensor({4, 3}), training), Contains("layer 'scale'"));
  REQUIRE_THROWS_WITH(model.predict(Tensor({4, 5}, DType::float64)),
                      Contains("layer 'scale'") && Contains("[4, 5]"));
  model.forward(random_tensor({4, 3}, 1), training);
  REQUIRE_THROWS_WITH(model.backward(random_tensor({3, 12}, 2)),
                      Contains("layer 'scale_2'") && Contains("[4, 12]"));
}

TEST_CASE("a model can be moved between forward and backward") {
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor dy = random_tensor({4, 12}, 2);
  Sequential model = built_model();
  model.forward(x, training);
  model.backward(dy);
  const auto expected = gradients_of(model);
  model.forward(x, training);
  Sequential moved = std::move(model);
  moved.backward(dy);
  REQUIRE(gradients_of(moved) == expected);
}
