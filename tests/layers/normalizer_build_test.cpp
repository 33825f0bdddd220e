// How Dense and Conv2D hold their normalizer: names, options, states, tapes.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "layers/normalizer_cases.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

using Options = BatchNormalizationOptions;

Dense dense_with(const Options& normalizer, DenseOptions options = {}) {
  options.units = 2;
  options.normalizer = normalizer;
  return Dense(std::move(options));
}

template <class L>
void check_refused(L&& layer, const Shape& shape, const std::string& part) {
  const Caught caught = caught_from([&] { layer.build(shape); });
  INFO(caught.what);
  CHECK(caught.is(ErrorCode::argument));
  CHECK_THAT(caught.what, Contains(part));
  CHECK_FALSE(layer.is_built());
}

}  // namespace

TEST_CASE("the activation of a dense layer comes after its normalizer") {
  Dense outer = dense_with({}, {.activation = ActivationFunction::tanh, .dtype = DType::float64});
  Dense inner = dense_with({.activation = ActivationFunction::tanh}, {.dtype = DType::float64});
  for (Dense* layer : {&outer, &inner}) layer->build({4, 3});
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor y = output_of(outer, x, {.mode = Mode::training});
  CHECK(is_identical(y, output_of(inner, x, {.mode = Mode::training})));
  CHECK(
      std::ranges::all_of(y.values<double>(), [](double value) { return std::abs(value) < 1.0; }));
}

TEST_CASE("variables of a normalizer belong to the layer around it") {
  Dense dense = dense_with({.name = "norm"}, {.name = "hidden"});
  CHECK(dense.variables().empty());
  dense.rename("other");
  dense.build({4, 3});
  std::vector<std::string> names;
  for (const Variable* variable : dense.variables()) names.push_back(variable->name());
  CHECK(names == std::vector<std::string>{"other/kernel", "other/norm/gamma", "other/norm/beta",
                                          "other/norm/moving_mean", "other/norm/moving_variance",
                                          "other/norm/num_updates", "other/norm/num_elements",
                                          "other/norm/shift", "other/norm/grid",
                                          "other/norm/gradient_grid"});
  CHECK(&dense.variable("norm/gamma") == &dense.normalizer().gamma());
  CHECK(dense.inner_layers().size() == 1);
  CHECK(dense.normalizer().name() == "other/norm");
  CHECK(dense_with({}).normalizer().name() == "dense/batch_normalization");
  CHECK_THROWS_AS(dense.variable("bias"), ArgumentError);
  CHECK_THROWS_AS(Dense({.units = 2}).normalizer(), StateError);
  CHECK_THROWS_AS(Conv2D({.filters = 2}).normalizer(), StateError);
}

TEST_CASE("a layer freezes its normalizer, which may be frozen alone") {
  const auto trained_of = [](Dense& dense) {
    std::vector<std::string> names;
    for (const Variable* variable : dense.variables())
      if (variable->is_trainable() && variable->role() == VariableRole::parameter)
        names.push_back(variable->name());
    return names;
  };
  using Names = std::vector<std::string>;
  const Names all{"dense/kernel", "dense/batch_normalization/gamma",
                  "dense/batch_normalization/beta"};
  Dense outside = dense_with({}, {.trainable = false});
  Dense inside = dense_with({.trainable = false});
  for (Dense* dense : {&outside, &inside}) dense->build({4, 3});
  CHECK(trained_of(outside).empty());
  CHECK_FALSE(outside.normalizer().is_trainable());
  CHECK(trained_of(inside) == Names{"dense/kernel"});
  for (Dense* dense : {&outside, &inside}) {
    dense->set_trainable(true);
    CHECK(trained_of(*dense) == all);
    CHECK(dense->normalizer().is_trainable());
    dense->set_trainable(false);
    CHECK(trained_of(*dense).empty());
    CHECK_FALSE(dense->normalizer().is_trainable());
  }
}

TEST_CASE("the mode of a layer is that of its normalizer") {
  Dense dense = dense_with({.momentum = 0.5}, {.dtype = DType::float64});
  dense.build({4, 3});
  const Tensor x = random_tensor({4, 3}, 1);
  const auto before = values_of(dense.normalizer().variables());
  (void)output_of(dense, x);
  CHECK(values_of(dense.normalizer().variables()) == before);
  dense.set_mode(Mode::training);
  (void)output_of(dense, x);
  CHECK(values_of(dense.normalizer().variables()) != before);
}

TEST_CASE("what a call learned is committed once, when the caller says so") {
  Dense dense = dense_with({.momentum = 0.5}, {.dtype = DType::float64});
  dense.build({4, 3});
  const auto tape = dense.make_tape();
  const Call call{.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller};
  const Tensor x = random_tensor({4, 3}, 1);
  const auto before = values_of(dense.variables());
  (void)output_of(dense, x, call);
  CHECK(values_of(dense.variables()) == before);
  dense.commit(*tape);
  const auto after = values_of(dense.variables());
  CHECK(after != before);
  dense.commit(*tape);
  CHECK(values_of(dense.variables()) == after);

  // A call that failed has nothing to commit, whatever the tape held before.
  (void)output_of(dense, x, call);
  Tensor wrong({4, 5}, DType::float64);
  CHECK_THROWS_AS(dense.forward(x, wrong, call), ArgumentError);
  dense.commit(*tape);
  CHECK(values_of(dense.variables()) == after);
  CHECK_THROWS_AS(dense.backward(*tape, Tensor({4, 2}, DType::float64), {}), StateError);
  Call without_tape = call;
  without_tape.tape = nullptr;
  CHECK_THROWS_AS(output_of(dense, x, without_tape), ArgumentError);
}

TEST_CASE("a tape serves the layer that made it") {
  Dense first = dense_with({}, {.dtype = DType::float64});
  Dense second = dense_with({}, {.dtype = DType::float64});
  for (Dense* dense : {&first, &second}) dense->build({4, 3});
  const auto tape = first.make_tape();
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor y = output_of(first, x, {.mode = Mode::training, .tape = tape.get()});
  CHECK_THROWS_AS(second.backward(*tape, y, {}), StateError);
  CHECK_THROWS_AS(output_of(second, x, {.mode = Mode::training, .tape = tape.get()}), StateError);
  Dense moved = std::move(first);
  moved.backward(*tape, y, {});
}

TEST_CASE("a layer with a normalizer has no bias, whatever is said of one") {
  Conv2D conv({.filters = 2, .bias_regularizer = l2(0.5), .normalizer = Options{}});
  conv.build({2, 3, 3, 1});
  CHECK_THROWS_WITH(conv.bias(), Contains("normalizer"));
  CHECK(conv.variables().front() == &conv.kernel());
  CHECK(conv.variables().size() == 1 + conv.normalizer().variables().size());
}

TEST_CASE("options that contradict each other are refused") {
  const Shape features{4, 3};
  check_refused(dense_with({.activation = ActivationFunction::relu},
                           {.activation = ActivationFunction::relu}),
                features, "both have an activation");
  check_refused(dense_with({.axis = 0}), features, "another axis");
  check_refused(dense_with({.data_format = "NCHW"}), {4, 3, 5}, "another axis");
  check_refused(dense_with({.dtype = DType::float32}, {.dtype = DType::float64}), features,
                "float64");
  check_refused(dense_with({.input_shape = Shape{3}}), features, "input_shape");
  check_refused(dense_with({.epsilon = -1.0}), features, "'dense/batch_normalization': epsilon");
  check_refused(
      Conv2D({.filters = 2, .data_format = DataFormat::nchw, .normalizer = Options{.axis = 3}}),
      {2, 1, 3, 3}, "another axis");

  Dense same = dense_with({.axis = 1, .dtype = DType::float32, .input_shape = Shape{2}});
  same.build(features);
  Conv2D first({.filters = 2,
                .data_format = DataFormat::nchw,
                .normalizer = Options{.axis = -3, .data_format = "NCHW"}});
  first.build({2, 1, 3, 3});
  CHECK(first.normalizer().gamma().shape() == Shape{2});
}

TEST_CASE("a layer whose normalizer was refused can be built for another input") {
  Dense dense = dense_with({.axis = 1});
  check_refused(dense, {4, 3, 5}, "another axis");
  dense.build({4, 3});
  CHECK(dense.is_built());
}

TEST_CASE("parameters of a normalizer have their regularizers and constraints") {
  Dense dense = dense_with({.gamma_regularizer = l2(0.5), .gamma_constraint = NonNeg{}});
  dense.build({4, 3});
  CHECK(to_string(dense.variable("batch_normalization/gamma").regularizer()) == "l2(0.5)");
  CHECK(std::holds_alternative<NonNeg>(dense.normalizer().gamma().constraint()));
  CHECK(to_string(dense.normalizer().beta().regularizer()) == "none");
}

TEST_CASE("layers that share a kernel share their normalizer") {
  const VariableStore store;
  const auto scope = store.scope();
  const auto make = [](bool reuse) {
    return dense_with(
        {.updates = Updates::deferred, .scope = {.updates_collections = {update_ops_collection}}},
        {.dtype = DType::float64, .name = "a", .scope = {.name = "s", .reuse = reuse}});
  };
  Dense first = make(false);
  first.build({4, 3});
  Dense second = make(true);
  second.build({4, 3});
  CHECK(second.variables() == first.variables());
  CHECK(store.variables() == first.variables());
  CHECK(first.variables()[1]->name() == "s/a/batch_normalization/gamma");
  CHECK(BatchNormalization().name() == "batch_normalization");  // not taken by the inner ones

  const auto before = values_of(first.normalizer().moving_mean());
  (void)output_of(second, random_tensor({4, 3}, 1), {.mode = Mode::training});
  CHECK(values_of(first.normalizer().moving_mean()) == before);
  REQUIRE(second.update_source() != nullptr);
  CHECK(second.update_source()->next_update().has_value());
  store.apply_updates();
  const auto after = values_of(first.normalizer().moving_mean());
  CHECK(after != before);
  second.apply_updates();
  CHECK(values_of(first.normalizer().moving_mean()) == after);
}
