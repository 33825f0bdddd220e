// Regularizers and constraints that fail, or that differ between ranks.

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

enum class Where { penalty, gradient, projection };

bool is_armed = false;  // on the guilty rank only
Where armed_where{};

void maybe_throw(Where where) {
  if (!is_armed || where != armed_where) return;
  is_armed = false;
  throw std::runtime_error("boom");
}

RegularizerFunction trap_regularizer() {
  return {.name = "trap",
          .penalty =
              [](std::span<const double> values) {
                maybe_throw(Where::penalty);
                return penalty(l2(), values);
              },
          .add_gradient =
              [](std::span<const double> values, std::span<double> gradient) {
                maybe_throw(Where::gradient);
                add_penalty_gradient(l2(), values, gradient);
              }};
}

ConstraintFunction trap_constraint() {
  return {.name = "trap", .project = [](std::span<double> values, const Shape& shape) {
            project(MaxNorm{.max_value = 0.7}, shape, values);
            maybe_throw(Where::projection);
          }};
}

// The trapped layer comes last, so that others have been updated already when it throws.
struct Run {
  Sequential model{{.dtype = DType::float64}, Strategy(Communicator::world())};
  std::optional<Trainer> trainer;

  Run() {
    model.add(Dense({.units = 4, .kernel_constraint = MaxNorm{.max_value = 0.5}}));
    model.add(SyncBatchNormalization({}));
    model.add(Dense({.units = 3,
                     .kernel_regularizer = trap_regularizer(),
                     .kernel_constraint = trap_constraint(),
                     .name = "trapped"}));
    trainer.emplace(model, Adam({.learning_rate = 0.1}), SparseCategoricalCrossentropy{});
  }

  // Everything that a step changes: variables and the optimizer's memory.
  std::vector<double> state() {
    std::vector<double> all = values_of(model.variables());
    for (const auto& [name, value] : trainer->optimizer().state())
      if (value->dtype() == DType::float64)
        for (const double slot : value->values<double>()) all.push_back(slot);
    all.push_back(static_cast<double>(trainer->optimizer().num_steps()));
    return all;
  }
};

const SyntheticBlobs& blobs() {
  static const SyntheticBlobs data({.num_samples = 30, .num_classes = 3, .num_features = 4});
  return data;
}

constexpr Where everywhere[] = {Where::penalty, Where::gradient, Where::projection};

}  // namespace

TEST_CASE("a function that throws on one rank ends the step on all, and changes nothing",
          "[train]") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  for (const Where where : everywhere) {
    Run run;
    const FitOptions options{.epochs = 1, .batch_size = 12};
    run.trainer->fit(blobs(), options);
    const auto before = run.state();
    const std::int64_t steps_before = run.trainer->num_steps();
    armed_where = where;
    is_armed = world.rank() == guilty;
    const Caught caught = caught_from([&] { run.trainer->fit(blobs(), options); });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign));
    REQUIRE_ON_ALL_RANKS(world, caught.what.find("'trapped/kernel': boom") != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, run.trainer->num_steps() == steps_before);
    REQUIRE_ON_ALL_RANKS(world, run.state() == before);
    REQUIRE_ON_ALL_RANKS(world, !is_armed);

    run.trainer->fit(blobs(), options);
    const auto mine = run.state();
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(mine))));
  }
}

TEST_CASE("a function that threw leaves no trace in later steps", "[train]") {
  const Communicator world = Communicator::world();
  Tensor x({4, 4}, DType::float64), targets(Shape{4}, DType::int64);
  blobs().read(std::vector<std::int64_t>{1, 2, 3, 4}, x, targets);
  const auto state_after = [&](bool has_fault) {
    Run run;
    for (int step = 0; step < 4; ++step) {
      for (const Where where : everywhere) {
        if (!has_fault || step == 3) continue;
        armed_where = where;
        is_armed = world.rank() == world.size() - 1;
        REQUIRE_THROWS_AS(run.trainer->step(x, targets), ForeignError);
      }
      run.trainer->step(x, targets);
    }
    return run.state();
  };
  const bool is_equal = state_after(true) == state_after(false);
  REQUIRE_ON_ALL_RANKS(world, is_equal);
}

TEST_CASE("a penalty that throws in an evaluation is told to all ranks", "[train]") {
  const Communicator world = Communicator::world();
  Run run;
  const double loss = run.trainer->evaluate(blobs()).loss;
  armed_where = Where::penalty;
  is_armed = world.rank() == world.size() - 1;
  const Caught caught = caught_from([&] { (void)run.trainer->evaluate(blobs()); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign));
  REQUIRE_ON_ALL_RANKS(world, caught.rank() == world.size() - 1);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  const double again = run.trainer->evaluate(blobs()).loss;
  REQUIRE_ON_ALL_RANKS(world, again == loss);
}

TEST_CASE("a penalty that is not finite ends the step on all ranks", "[train]") {
  const Communicator world = Communicator::world();
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Dense({.units = 3, .bias_regularizer = l2(1e300)}));
  Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy{});
  const Tensor x({2, 4}, DType::float64), targets(Shape{2}, DType::int64);
  trainer.step(x, targets);
  for (double& value : model.variable("dense/bias").value().values<double>()) value = 1e10;
  const auto before = values_of(model.variables());
  const Caught caught = caught_from([&] { trainer.step(x, targets); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("penalty is inf") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  REQUIRE_ON_ALL_RANKS(world, values_of(model.variables()) == before);
}

TEST_CASE("ranks that regularize or constrain differently are told so when they build", "[train]") {
  const Communicator world = Communicator::world();
  const bool is_odd_one_out = !world.is_solo() && world.rank() == world.size() - 1;
  const auto check = [&](const DenseOptions& options, const char* named) {
    Sequential model({}, Strategy(Communicator::world()));
    model.add(Dense(is_odd_one_out ? options : DenseOptions{.units = 3}));
    const Caught caught = caught_from([&] { model.build({2, 4}); });
    INFO(caught.what);
    if (world.is_solo()) return;
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, caught.what.find(named) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  };
  check({.units = 3, .kernel_regularizer = l2(0.1)}, "option kernel_regularizer");
  check({.units = 3, .bias_regularizer = trap_regularizer()}, "option bias_regularizer");
  check({.units = 3, .kernel_constraint = UnitNorm{}}, "option kernel_constraint");
  check({.units = 3, .bias_constraint = NonNeg{}}, "option bias_constraint");
}

TEST_CASE("an impossible regularizer of one rank is refused by all when they build", "[train]") {
  const Communicator world = Communicator::world();
  const bool is_guilty = world.rank() == world.size() - 1;
  Sequential model({}, Strategy(Communicator::world()));
  model.add(Dense({.units = 3, .kernel_regularizer = l2(is_guilty ? -1.0 : 1.0)}));
  const Caught caught = caught_from([&] { model.build({2, 4}); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("'dense/kernel'") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("what ranks set on their variables is compared before the first step", "[train]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const bool is_odd_one_out = world.rank() == world.size() - 1;
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Dense({.units = 3}));
  model.build({2, 4});
  Variable& kernel = model.variable("dense/kernel");
  Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy{});
  const Tensor x({2, 4}, DType::float64), targets(Shape{2}, DType::int64);
  const auto step_fails_naming = [&](const char* named) {
    const Caught caught = caught_from([&] { trainer.step(x, targets); });
    return caught.is(ErrorCode::mismatch) && caught.what.find(named) != std::string::npos;
  };
  if (is_odd_one_out) kernel.set_regularizer(trap_regularizer());
  REQUIRE_ON_ALL_RANKS(world, step_fails_naming("regularizer of dense/kernel"));
  kernel.set_regularizer({});
  if (is_odd_one_out) kernel.set_constraint(NonNeg{});
  REQUIRE_ON_ALL_RANKS(world, step_fails_naming("constraint of dense/kernel"));
  kernel.set_constraint({});
  REQUIRE_NOTHROW(trainer.step(x, targets));
}

TEST_CASE("a function that comes after the first step is refused by all ranks", "[train]") {
  const Communicator world = Communicator::world();
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Dense({.units = 3}));
  Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy{});
  const Tensor x({2, 4}, DType::float64), targets(Shape{2}, DType::int64);
  trainer.step(x, targets);
  Variable& kernel = model.variable("dense/kernel");
  if (world.rank() == world.size() - 1) kernel.set_constraint(trap_constraint());
  const Caught caught = caught_from([&] { trainer.step(x, targets); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::state));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("dense/kernel") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  kernel.set_constraint({});
  REQUIRE_NOTHROW(trainer.step(x, targets));
}
