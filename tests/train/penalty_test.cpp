// Regularizers and constraints in training: counted once, the same on any number of ranks.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::int64_t batch_size = 12;

const SyntheticImages& images() {
  static const SyntheticImages data({.num_samples = 48, .num_classes = 3, .shape = {5, 5, 2}});
  return data;
}

// What a model's parameters are asked to be.
struct Penalties {
  Regularizer kernel_regularizer = {};
  Regularizer bias_regularizer = {};
  Constraint conv_constraint = {};
  Constraint dense_constraint = {};
};

Penalties all_penalties() {
  return {.kernel_regularizer = l1_l2(0.01, 0.02),
          .bias_regularizer = l2(0.03),
          .conv_constraint = MaxNorm{.max_value = 0.6, .axes = {0, 1, 2}},
          .dense_constraint = MaxNorm{.max_value = 0.9}};
}

// The same as functions of the user's own: l2, and no value above 0.2.
Penalties own_functions() {
  return {.kernel_regularizer = RegularizerFunction{
              .name = "own_l2",
              .penalty = [](std::span<const double> w) { return penalty(l2(0.02), w); },
              .add_gradient =
                  [](std::span<const double> w, std::span<double> gradient) {
                    add_penalty_gradient(l2(0.02), w, gradient);
                  }},
          .dense_constraint = ConstraintFunction{
              .name = "own_limit", .project = [](std::span<double> values, const Shape&) {
                for (double& value : values) value = std::min(value, 0.2);
              }}};
}

Sequential model_with(const Penalties& penalties, const Strategy& strategy) {
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(Conv2D({.filters = 4,
                    .kernel_size = {3, 3},
                    .kernel_regularizer = penalties.kernel_regularizer,
                    .bias_regularizer = penalties.bias_regularizer,
                    .kernel_constraint = penalties.conv_constraint}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::tanh}));
  model.add(Flatten());
  model.add(Dense({.units = 3,
                   .bias_initializer = Constant{0.5},
                   .kernel_regularizer = penalties.kernel_regularizer,
                   .bias_regularizer = penalties.bias_regularizer,
                   .kernel_constraint = penalties.dense_constraint}));
  return model;
}

// A model and what trains it.
struct Run {
  Sequential model;
  Trainer trainer;

  Run(const Penalties& penalties, const Strategy& strategy, Averaging averaging = {})
      : model(model_with(penalties, strategy)),
        trainer(model, Sgd({.learning_rate = 0.1, .momentum = 0.9, .clip_norm = 2.0}),
                SparseCategoricalCrossentropy{}, {.averaging = averaging}) {}

  // One step on samples [first, first + count) of batch number `step`.
  Scores step(std::int64_t step, std::int64_t first, std::int64_t count) {
    std::vector<std::int64_t> indices;
    for (std::int64_t i = first; i < first + count; ++i)
      indices.push_back((step * batch_size + i) % images().num_samples());
    Tensor x(images().input_shape().prepended(count), DType::float64), t({count}, DType::int64);
    images().read(indices, x, t);
    return trainer.step(x, t, indices).training;
  }

  std::vector<double> values() { return values_of(model.variables()); }
  double penalty() { return regularization_loss(model.variables()); }
};

Strategy world_strategy() { return Strategy(Communicator::world()); }

std::vector<double> norms_of_columns(const Variable& variable) {
  const std::int64_t columns = variable.shape()[variable.shape().rank() - 1];
  std::vector<double> norms(static_cast<std::size_t>(columns));
  const auto values = variable.value().values<double>();
  for (std::size_t i = 0; i < values.size(); ++i) norms[i % norms.size()] += values[i] * values[i];
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

}  // namespace

TEST_CASE("training with penalties is the same on any number of ranks and for any cut", "[train]") {
  const Communicator world = Communicator::world();
  for (const Penalties& penalties : {all_penalties(), own_functions()})
    for (const auto& cut : cuts_of(batch_size, world.size())) {
      Run alone(penalties, Strategy()), together(penalties, world_strategy());
      std::vector<double> losses, expected_losses;
      for (std::int64_t step = 0; step < 12; ++step) {
        expected_losses.push_back(alone.step(step, 0, batch_size).loss);
        const std::int64_t count = cut[static_cast<std::size_t>(world.rank())];
        losses.push_back(together.step(step, first_of(cut, world.rank()), count).loss);
      }
      const std::vector<double> values = together.values();
      REQUIRE_ON_ALL_RANKS(world, distance(losses, expected_losses) < 1e-10);
      REQUIRE_ON_ALL_RANKS(world, distance(values, alone.values()) < 1e-10);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(values))));
    }
}

TEST_CASE("the loss is the mean of the data's plus each penalty once", "[train]") {
  const Communicator world = Communicator::world();
  const Averaging averaging = GENERATE(Averaging::samples, Averaging::ranks);
  for (const auto& cut : cuts_of(batch_size, world.size())) {
    Run plain({}, world_strategy(), averaging);
    Run penalized(all_penalties(), world_strategy(), averaging);
    plain.model.build(images().input_shape().prepended(1));
    penalized.model.build(images().input_shape().prepended(1));
    const std::int64_t first = first_of(cut, world.rank());
    const std::int64_t count = cut[static_cast<std::size_t>(world.rank())];
    const double penalty = penalized.penalty();
    const double plain_loss = plain.step(0, first, count).loss;
    const double loss = penalized.step(0, first, count).loss;
    REQUIRE_ON_ALL_RANKS(world, penalty > 0.1);
    REQUIRE_ON_ALL_RANKS(world, std::abs(loss - plain_loss - penalty) < 1e-12);
  }
}

TEST_CASE("epochs and evaluations report the loss with the penalties", "[train]") {
  const Communicator world = Communicator::world();
  Run plain({}, world_strategy()), penalized(all_penalties(), world_strategy());
  const FitOptions options{.epochs = 1, .batch_size = 48, .validation = &images()};
  penalized.model.build(images().input_shape().prepended(1));
  const double penalty_before = penalized.penalty();
  const double plain_loss = plain.trainer.fit(images(), options).epochs[0].training.loss;
  const EpochRecord epoch = penalized.trainer.fit(images(), options).epochs[0];
  REQUIRE_ON_ALL_RANKS(world, std::abs(epoch.training.loss - plain_loss - penalty_before) < 1e-12);

  const double loss = penalized.trainer.evaluate(images(), 7).loss;
  REQUIRE_ON_ALL_RANKS(world, std::abs(epoch.validation->loss - loss) < 1e-12);
  const double penalty = penalized.penalty();
  for (Variable* variable : penalized.model.variables()) variable->set_regularizer({});
  const double without = penalized.trainer.evaluate(images(), 7).loss;
  REQUIRE_ON_ALL_RANKS(world, std::abs(loss - without - penalty) < 1e-12);
}

TEST_CASE("a step goes down the gradient of data and penalty, then projects", "[train]") {
  const Communicator world = Communicator::world();
  const auto step_of = [&](Regularizer regularizer, Constraint constraint) {
    Sequential model({.dtype = DType::float64, .seed = 3}, world_strategy());
    model.add(Dense({.units = 3,
                     .kernel_regularizer = std::move(regularizer),
                     .kernel_constraint = std::move(constraint)}));
    model.build({1, 4});
    Trainer trainer(model, Sgd({.learning_rate = 0.5}), MeanSquaredError{});
    Tensor x({2, 4}, DType::float64), t({2, 3}, DType::float64);
    std::ranges::fill(x.values<double>(), 0.5);
    std::ranges::fill(t.values<double>(), 1.0 + world.rank());
    trainer.step(x, t);
    return values_of(model.variable("dense/kernel"));
  };
  Sequential start({.dtype = DType::float64, .seed = 3}, world_strategy());
  start.add(Dense({.units = 3}));
  start.build({1, 4});
  const std::vector<double> before = values_of(start.variable("dense/kernel"));
  const Constraint constraint = UnitNorm{};
  std::vector<double> slope(before.size());
  add_penalty_gradient(l1_l2(0.1, 0.2), before, slope);

  std::vector<double> expected = step_of({}, {});
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= 0.5 * slope[i];
  const bool is_penalized = distance(step_of(l1_l2(0.1, 0.2), {}), expected) < 1e-14;
  REQUIRE_ON_ALL_RANKS(world, is_penalized);
  project(constraint, {4, 3}, expected);
  const bool is_projected = distance(step_of(l1_l2(0.1, 0.2), constraint), expected) < 1e-14;
  REQUIRE_ON_ALL_RANKS(world, is_projected);
}

TEST_CASE("constraints hold after every step", "[train]") {
  const Communicator world = Communicator::world();
  Run run(all_penalties(), world_strategy());
  for (std::int64_t step = 0; step < 5; ++step) {
    run.step(step, world.rank(), 2);
    const auto conv = norms_of_columns(run.model.variable("conv2d/kernel"));
    const auto dense = norms_of_columns(run.model.variable("dense/kernel"));
    REQUIRE_ON_ALL_RANKS(world, std::ranges::max(conv) <= 0.6);
    REQUIRE_ON_ALL_RANKS(world, std::ranges::max(dense) <= 0.9);
  }
}

TEST_CASE("a frozen layer keeps its penalty in the loss and its values as they are", "[train]") {
  const Communicator world = Communicator::world();
  for (const Penalties& penalties : {all_penalties(), own_functions()}) {
    Run free(penalties, world_strategy()), frozen(penalties, world_strategy());
    for (Run* run : {&free, &frozen}) run->model.build(images().input_shape().prepended(1));
    frozen.model.layer("dense").set_trainable(false);
    const auto kernel = values_of(frozen.model.variable("dense/kernel"));
    const auto other = values_of(frozen.model.variable("conv2d/kernel"));
    const double loss = free.step(0, 0, 3).loss;
    const double frozen_loss = frozen.step(0, 0, 3).loss;
    REQUIRE_ON_ALL_RANKS(world, frozen_loss == loss);
    REQUIRE_ON_ALL_RANKS(world, values_of(frozen.model.variable("dense/kernel")) == kernel);
    REQUIRE_ON_ALL_RANKS(world, values_of(frozen.model.variable("conv2d/kernel")) != other);
  }
}

TEST_CASE("a step without any sample projects nothing", "[train]") {
  const Communicator world = Communicator::world();
  for (const Penalties& penalties : {all_penalties(), own_functions()}) {
    Run run(penalties, world_strategy());
    run.step(0, 0, 2);
    run.model.variable("dense/kernel").value().values<double>()[0] = 5.0;
    const auto before = run.values();
    const Scores scores = run.step(1, 0, 0);
    REQUIRE_ON_ALL_RANKS(world, scores.loss == 0.0);
    REQUIRE_ON_ALL_RANKS(world, run.values() == before);
  }
}

TEST_CASE("penalties send nothing, functions of the user's own one message more", "[train]") {
  const Communicator world = Communicator::world();
  const auto messages_of = [&](const Penalties& penalties) {
    Run run(penalties, world_strategy());
    run.step(0, 0, 2);
    const std::int64_t before = num_collectives();
    run.step(1, 0, 2);
    return num_collectives() - before;
  };
  const std::int64_t plain = messages_of({});
  const std::int64_t penalized = messages_of(all_penalties());
  const std::int64_t own = messages_of(own_functions());
  REQUIRE_ON_ALL_RANKS(world, penalized == plain);
  REQUIRE_ON_ALL_RANKS(world, own == plain + (world.is_solo() ? 0 : 1));
}

TEST_CASE("penalties take nothing from the heap in a steady step", "[train]") {
  const Communicator world = Communicator::world();
  const auto allocations_of = [&](const Penalties& penalties) {
    Run run(penalties, world_strategy());
    const Tensor x({4, 5, 5, 2}, DType::float64), t({4}, DType::int64);
    for (int step = 0; step < 3; ++step) run.trainer.step(x, t);
    const std::int64_t before = num_allocations();
    run.trainer.step(x, t);
    return num_allocations() - before;
  };
  const std::int64_t plain = allocations_of({});
  const std::int64_t penalized = allocations_of(all_penalties());
  const std::int64_t own = allocations_of(own_functions());
  REQUIRE_ON_ALL_RANKS(world, penalized == plain);
  REQUIRE_ON_ALL_RANKS(world, own == plain);
}
