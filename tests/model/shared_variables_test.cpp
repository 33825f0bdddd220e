// Layers of a model that share variables: listed once, gradients summed over all uses, on any
// number of ranks.

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Names = std::vector<std::string>;

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& world() { return strategy().replicas(); }

Call training_call() { return {.mode = Mode::training, .commit = Commit::by_caller}; }

Dense square(const std::string& name, bool reuse, bool use_bias = true) {
  return Dense({.units = 3,
                .activation = ActivationFunction::tanh,
                .use_bias = use_bias,
                .name = name,
                .scope = {.reuse = reuse}});
}

Sequential empty_model() { return Sequential({.dtype = DType::float64, .seed = 3}, strategy()); }

// Uses "a" three times, the last time without its bias, and "b" once in between.
Sequential dense_model() {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = empty_model();
  model.add(square("a", false)).add(square("a", true)).add(square("b", false));
  model.add(square("a", true, false));
  return model;
}

// Three batch normalizations with the same gamma and beta: synchronized, by this rank's batch
// alone, and frozen, so that their gradients sum different samples.
Sequential normalization_model() {
  const VariableStore store;
  const auto root = store.scope();
  Sequential model = empty_model();
  const auto add = [&](bool reuse, bool synchronized, bool trainable) {
    const VariableScope scope({.name = "net", .reuse = reuse});
    model.add(BatchNormalization({.trainable = trainable, .synchronized = synchronized}));
  };
  add(false, true, true);
  model.add(square("b", false));
  add(true, false, true);
  model.add(square("c", false));
  add(true, true, false);
  return model;
}

// Rows of this rank; ranks have different numbers of them.
Tensor local_input() {
  const auto rank = static_cast<std::uint64_t>(strategy().rank());
  return random_tensor({3 + strategy().rank(), 3}, 11 + rank);
}

double summed_over_ranks(double value) {
  std::array<double, 1> sum{value};
  allreduce(world(), sum, Reduction::sum);
  return sum[0];
}

// The loss sum(weights * output) over all ranks.
struct Losses {
  Sequential& model;
  Tensor input = local_input();
  Tensor weights = random_tensor(input.shape(), 29);

  double operator()() const {
    return summed_over_ranks(inner_product_of(weights, model.forward(input, training_call())));
  }
};

// The gradient summed over the ranks, as the merge at the end of a step does it.
std::vector<double> total_gradient_of(const Variable& variable) {
  const auto here = variable.grad().values<double>();
  std::vector<double> total(here.begin(), here.end());
  if (variable.gradient_scope() == GradientScope::local)
    allreduce(world(), std::span(total), Reduction::sum);
  return total;
}

void require_gradients(Sequential& model, double factor, double tolerance) {
  const Losses losses{model};
  for (Variable* variable : model.variables()) {
    if (!variable->is_trainable()) continue;
    INFO(variable->name());
    const std::vector<double> gradient = total_gradient_of(*variable);
    std::vector<double> differences = differences_of(variable->value().values<double>(), losses);
    for (double& difference : differences) difference *= factor;
    double worst = 0.0, scale = 1e-3;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      worst = std::max(worst, std::abs(gradient[i] - differences[i]));
      scale = std::max(scale, std::abs(differences[i]));
    }
    REQUIRE_ON_ALL_RANKS(world(), worst / scale < tolerance);
  }
}

void randomize(Sequential& model) {
  for (Variable* variable : model.variables())
    if (variable->role() == VariableRole::parameter)
      variable->assign(random_tensor(variable->shape(), variable->name().size()));
}

Names names_of(const std::vector<Variable*>& variables) {
  Names names;
  for (const Variable* variable : variables) names.push_back(variable->name());
  return names;
}

}  // namespace

TEST_CASE("shared variables are listed, sent and counted once", "[model]") {
  Sequential model = dense_model();
  const std::int64_t before = num_collectives();
  model.build({4, 3});
  const std::int64_t num_messages = num_collectives() - before;
  CHECK(names_of(model.variables()) == Names{"a/kernel", "a/bias", "b/kernel", "b/bias"});
  REQUIRE_ON_ALL_RANKS(world(), num_messages == (world().is_solo() ? 0 : 1 + 4));
  CHECK(model.layer("a").variables() == model.layer("a_reuse").variables());
  CHECK(&model.layer("a_reuse_1").variable("kernel") == &model.variable("a/kernel"));
  const std::string summary = model.summary();
  INFO(summary);
  CHECK(summary.find("parameters: 24, trainable: 24, non-trainable: 0") != std::string::npos);
}

TEST_CASE("the gradient of a shared variable sums that of all uses", "[model]") {
  const bool is_dense = GENERATE(true, false);
  Sequential model = is_dense ? dense_model() : normalization_model();
  model.build({4, 3});
  randomize(model);
  const Losses losses{model};
  static_cast<void>(losses());
  model.backward(losses.weights);
  require_gradients(model, 1.0, 1e-6);

  static_cast<void>(losses());
  model.backward(losses.weights, Gradients::overwrite);
  static_cast<void>(losses());
  model.backward(losses.weights, Gradients::accumulate);
  require_gradients(model, 2.0, 1e-6);
}

TEST_CASE("sharing changes no gradient but those of shared variables", "[model]") {
  Sequential shared = dense_model();
  Sequential apart = empty_model();
  apart.add(square("a", false)).add(square("c", false)).add(square("b", false));
  apart.add(square("d", false, false));
  for (Sequential* model : {&shared, &apart}) model->build({4, 3});
  randomize(shared);
  for (const auto& [to, from] : {std::pair{"a", "a"}, {"c", "a"}, {"b", "b"}, {"d", "a"}})
    for (Variable* variable : apart.layer(to).variables()) {
      const std::string name = variable->name().substr(1);
      variable->assign(shared.variable(from + name).value());
    }
  const Tensor x = local_input(), dy = random_tensor(x.shape(), 31);
  Tensor dx(x.shape(), DType::float64), other_dx = dx;
  CHECK(is_identical(shared.forward(x, training_call()), apart.forward(x, training_call())));
  shared.backward(dy, Gradients::overwrite, dx);
  apart.backward(dy, Gradients::overwrite, other_dx);
  CHECK(is_identical(dx, other_dx));
  const auto gradient = [](Sequential& model, const char* name) {
    return Tensor::copy_of(model.variable(name).grad());
  };
  CHECK(is_identical(gradient(shared, "b/kernel"), gradient(apart, "b/kernel")));
  Tensor sum = gradient(apart, "a/kernel");
  for (const char* name : {"c/kernel", "d/kernel"}) {
    const Tensor part = gradient(apart, name);
    std::ranges::transform(sum.values<double>(), part.values<double>(),
                           sum.values<double>().begin(), std::plus());
  }
  CHECK(distance_of(gradient(shared, "a/kernel"), sum) < 1e-14);
}

TEST_CASE("a backward pass through shared variables allocates nothing", "[model]") {
  Sequential model = dense_model();
  model.build({4, 3});
  const Losses losses{model};
  const auto step = [&] {
    static_cast<void>(model.forward(losses.input, training_call()));
    const std::int64_t before = num_allocations();
    model.backward(losses.weights);
    return num_allocations() - before;
  };
  static_cast<void>(step());
  const std::int64_t num_new = step();
  Sequential apart = empty_model();
  apart.add(square("a", false)).add(square("c", false)).add(square("b", false));
  apart.add(square("d", false, false));
  apart.build({4, 3});
  const auto plain_step = [&] {
    static_cast<void>(apart.forward(losses.input, training_call()));
    const std::int64_t before = num_allocations();
    apart.backward(losses.weights);
    return num_allocations() - before;
  };
  static_cast<void>(plain_step());
  REQUIRE_ON_ALL_RANKS(world(), num_new == plain_step());
}

TEST_CASE("a model may use the variables of another", "[model]") {
  const VariableStore store;
  const auto root = store.scope();
  const auto network = [](bool reuse) {
    const VariableScope scope({.name = "net", .reuse = reuse});
    Sequential model = empty_model();
    model.add(square({}, false)).add(BatchNormalization()).add(square({}, false));
    return model;
  };
  Sequential training = network(false), inference = network(true);
  training.build({4, 3});
  randomize(training);
  const Tensor x = local_input();
  static_cast<void>(training.forward(x, {.mode = Mode::training}));
  inference.build({4, 3});
  CHECK(inference.variables() == training.variables());
  CHECK(training.variables() == store.variables());
  CHECK(inference.layers()[2]->name() == "net/dense_1");
  const Tensor expected = training.predict(x);
  CHECK(is_identical(inference.predict(x), expected));

  static_cast<void>(training.forward(x, {.mode = Mode::training}));
  CHECK_FALSE(is_identical(training.predict(x), expected));
  CHECK(is_identical(inference.predict(x), training.predict(x)));
}

TEST_CASE("a model whose layer reuses too early can be built once it may", "[model]") {
  const VariableStore store;
  const auto root = store.scope();
  Sequential model = empty_model();
  model.add(square("b", false)).add(square("a", true));
  const auto build = [&] { return caught_from([&] { model.build({4, 3}); }); };
  const Caught caught = build();
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'a/kernel' does not exist") != std::string::npos);
  Dense first({.units = 3, .dtype = DType::float64, .name = "a"});
  first.build({4, 3}, world());
  REQUIRE_ON_ALL_RANKS(world(), build().what.empty());
  CHECK(model.layers()[1]->variables() == first.variables());
}

TEST_CASE("ranks that share in different ways are told so", "[model]") {
  if (world().is_solo()) return;
  const bool is_odd = strategy().rank() == strategy().num_replicas() - 1;
  const VariableStore store;
  const auto root = store.scope();
  Sequential model = empty_model();
  model.add(square("a", false)).add(square(is_odd ? "c" : "a", !is_odd));
  const Caught caught = caught_from([&] { model.build({4, 3}); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
}
