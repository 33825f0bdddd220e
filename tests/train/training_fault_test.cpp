// A rank that fails anywhere in a run: the same error everywhere, the state of the last good step.

#include <cmath>
#include <limits>
#include <string>

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

enum class Where {
  before_forward,
  between_forward,
  after_forward,
  loss,
  before_backward,
  between_backward,
  after_backward,
  data,
  step_end,
  epoch_end,
  evaluation
};

bool is_armed = false;  // on the guilty rank only
Where armed_where{};

void maybe_throw(Where where) {
  if (!is_armed || where != armed_where) return;
  is_armed = false;
  throw std::runtime_error("boom");
}

// Passes numbers through; throws where it is told to.
class Trap final : public Layer {
 public:
  explicit Trap(Where where) : Layer({"Trap", "", {}, {}, true}), where_(where) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "trap"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call& call) override {
    if (call.mode == Mode::training) maybe_throw(where_);
    std::ranges::copy(x.values<double>(), y.values<double>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    if (where_ == Where::after_forward) maybe_throw(Where::before_backward);
    if (where_ == Where::between_forward) maybe_throw(Where::between_backward);
    if (where_ == Where::before_forward) maybe_throw(Where::after_backward);
    if (!dx.is_null()) std::ranges::copy(dy.values<double>(), dx.values<double>().begin());
  }

 private:
  void do_create(const Shape&) override {}
  Where where_;
};

class TrapLoss final : public Loss {
 public:
  std::string name() const override { return "trap"; }
  std::string configuration() const override { return "trap"; }
  double evaluate(const TensorView& predictions, const TensorView& targets,
                  const MutableTensorView& gradient) const override {
    if (gradient.is_null() && predictions.shape()[0] > 0) maybe_throw(Where::evaluation);
    if (!gradient.is_null()) maybe_throw(Where::loss);
    return loss_.evaluate(predictions, targets, gradient);
  }

 private:
  SparseCategoricalCrossentropy loss_;
};

class TrapCallback final : public Callback {
 public:
  void on_step_end(Trainer&, const StepRecord&) override { maybe_throw(Where::step_end); }
  void on_epoch_end(Trainer&, const EpochRecord&) override { maybe_throw(Where::epoch_end); }
};

class TrapData final : public Dataset {
 public:
  std::int64_t num_samples() const noexcept override { return blobs_.num_samples(); }
  Shape input_shape() const override { return blobs_.input_shape(); }
  Shape target_shape() const override { return {}; }
  DType input_dtype() const noexcept override { return DType::float32; }
  DType target_dtype() const noexcept override { return DType::int64; }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override {
    maybe_throw(Where::data);
    blobs_.read(indices, inputs, targets);
  }
  SyntheticBlobs blobs_{{.num_samples = 30, .num_classes = 3, .num_features = 4}};
};

Sequential trapped_model() {
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Trap(Where::before_forward));
  model.add(SyncBatchNormalization({}));
  model.add(Trap(Where::between_forward));
  model.add(Dense({.units = 3}));
  model.add(SyncBatchNormalization({}));
  model.add(Trap(Where::after_forward));
  return model;
}

// Everything that a step changes: variables and the optimizer's memory.
std::vector<double> state_of(Trainer& trainer) {
  std::vector<double> all = values_of(trainer.model().variables());
  for (const auto& [name, value] : trainer.optimizer().state())
    if (value->dtype() == DType::float64)
      for (const double slot : value->values<double>()) all.push_back(slot);
  all.push_back(static_cast<double>(trainer.optimizer().num_steps()));
  return all;
}

}  // namespace

TEST_CASE("a rank that throws anywhere in a run is named by all ranks", "[train]") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const Where where =
      GENERATE(Where::before_forward, Where::between_forward, Where::after_forward, Where::loss,
               Where::before_backward, Where::between_backward, Where::after_backward, Where::data,
               Where::step_end, Where::epoch_end, Where::evaluation);
  const TrapData data;
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}), TrapLoss{});
  const FitOptions options{.epochs = 1,
                           .batch_size = 12,
                           .validation = &data,
                           .callbacks = {std::make_shared<TrapCallback>()}};
  trainer.fit(data, options);

  const auto before = state_of(trainer);
  const std::int64_t steps_before = trainer.num_steps();
  armed_where = where;
  is_armed = world.rank() == guilty;
  const Caught caught = caught_from([&] { trainer.fit(data, options); });
  const bool has_stepped =
      where == Where::step_end || where == Where::epoch_end || where == Where::evaluation;
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("boom") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  REQUIRE_ON_ALL_RANKS(world, has_stepped == (trainer.num_steps() > steps_before));
  REQUIRE_ON_ALL_RANKS(world, has_stepped == (state_of(trainer) != before));
  REQUIRE_ON_ALL_RANKS(world, !is_armed);

  trainer.fit(data, options);
  const auto mine = state_of(trainer);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(mine))));
}

TEST_CASE("a failed step leaves no trace in later ones", "[train]") {
  const Communicator world = Communicator::world();
  const TrapData data;
  const auto state_after = [&](bool has_fault) {
    Sequential model = trapped_model();
    Trainer trainer(model, Adam(), TrapLoss{});
    Tensor x({4, 4}, DType::float64), targets(Shape{4}, DType::int64);
    data.read(std::vector<std::int64_t>{1, 2, 3, 4}, x, targets);
    for (int step = 0; step < 4; ++step) {
      if (has_fault && step == 2) {
        for (const Where where :
             {Where::before_forward, Where::between_forward, Where::after_forward, Where::loss,
              Where::before_backward, Where::between_backward, Where::after_backward}) {
          armed_where = where;
          is_armed = world.rank() == world.size() - 1;
          REQUIRE_THROWS_AS(trainer.step(x, targets), ForeignError);
        }
      }
      trainer.step(x, targets);
    }
    return state_of(trainer);
  };
  const bool is_equal = state_after(true) == state_after(false);
  REQUIRE_ON_ALL_RANKS(world, is_equal);
}

TEST_CASE("errors of a layer that is not synchronized reach all ranks", "[train]") {
  const Communicator world = Communicator::world();
  const int guilty = world.size() - 1;
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(BatchNormalization({.name = "plain"}));
  Trainer trainer(model, Sgd(), MeanSquaredError{});
  Tensor x({2, 3}, DType::float64);
  const Tensor targets({2, 3}, DType::float64);
  trainer.step(x, targets);
  if (world.rank() == guilty) x.values<double>()[1] = std::numeric_limits<double>::infinity();
  const Caught caught = caught_from([&] { trainer.step(x, targets); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
  REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("plain") != std::string::npos);
}

TEST_CASE("callbacks may evaluate, though another rank's callback throws", "[train]") {
  const Communicator world = Communicator::world();
  const TrapData data;
  class Evaluating final : public Callback {
   public:
    explicit Evaluating(const Dataset& samples) : samples_(samples) {}
    void on_epoch_end(Trainer& trainer, const EpochRecord&) override {
      maybe_throw(Where::epoch_end);
      static_cast<void>(trainer.evaluate(samples_));
    }

   private:
    const Dataset& samples_;
  };
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd(), TrapLoss{});
  const FitOptions options{.callbacks = {std::make_shared<Evaluating>(data)}};
  trainer.fit(data, options);
  armed_where = Where::epoch_end;
  is_armed = world.rank() == world.size() - 1;
  REQUIRE_THROWS_AS(trainer.fit(data, options), ForeignError);
  trainer.fit(data, options);
}

TEST_CASE("ranks whose callbacks part meet again at the end of the epoch", "[train]") {
  const Communicator world = Communicator::world();
  const TrapData data;
  enum class Part { evaluate, swallow, leave_out };
  class Parting final : public Callback {
   public:
    Parting(const Dataset& samples, Part part) : samples_(samples), part_(part) {}
    void on_epoch_end(Trainer& trainer, const EpochRecord&) override {
      if (part_ == Part::leave_out) return;
      try {
        static_cast<void>(trainer.evaluate(samples_));
      } catch (const Error&) {
        if (part_ != Part::swallow) throw;
      }
    }

   private:
    const Dataset& samples_;
    Part part_;
  };
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd(), TrapLoss{});
  trainer.fit(data);
  const auto fit = [&](Part part_of_rank_0) {
    const Part part = world.rank() == 0 ? part_of_rank_0 : Part::evaluate;
    trainer.fit(data, {.callbacks = {std::make_shared<Parting>(data, part)}});
  };
  if (!world.is_solo()) {
    armed_where = Where::evaluation;
    is_armed = world.rank() == world.size() - 1;
    REQUIRE_THROWS_AS(fit(Part::swallow), ForeignError);
    REQUIRE_THROWS_AS(fit(Part::leave_out), MismatchError);
  }
  REQUIRE_NOTHROW(fit(Part::evaluate));
}

TEST_CASE("a step's callback must not be collective", "[train]") {
  const TrapData data;
  class Evaluating final : public Callback {
   public:
    explicit Evaluating(const Dataset& samples) : samples_(samples) {}
    void on_step_end(Trainer& trainer, const StepRecord&) override {
      static_cast<void>(trainer.evaluate(samples_));
    }

   private:
    const Dataset& samples_;
  };
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd(), TrapLoss{});
  REQUIRE_THROWS_AS(trainer.fit(data, {.callbacks = {std::make_shared<Evaluating>(data)}}),
                    StateError);
  REQUIRE_NOTHROW(trainer.fit(data));
}

TEST_CASE("a layer frozen between forward and backward keeps the merges of its forward",
          "[train]") {
  const Communicator world = Communicator::world();
  const int guilty = world.size() - 1;
  Sequential model = trapped_model();
  model.build({4, 4});
  const Tensor x({4, 4}, DType::float64), dy({4, 3}, DType::float64);
  const Call call{.mode = Mode::training, .commit = Commit::by_caller};
  for (const bool has_fault : {true, false}) {
    model.layer("batch_normalization").set_trainable(true);
    model.forward(x, call);
    model.layer("batch_normalization").set_trainable(false);
    armed_where = Where::between_backward;
    is_armed = has_fault && world.rank() == guilty;
    if (has_fault)
      REQUIRE_THROWS_AS(model.backward(dy), ForeignError);
    else
      REQUIRE_NOTHROW(model.backward(dy));
  }
}

TEST_CASE("a rank that fails between forward and backward tells the others", "[train]") {
  const Communicator world = Communicator::world();
  const int guilty = world.size() / 2;
  Sequential model = trapped_model();
  model.build({4, 4});
  const Tensor x({4, 4}, DType::float64), dy({4, 3}, DType::float64);
  const auto reason = std::make_exception_ptr(DataError("no labels"));
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    const auto step = [&] {
      if (pass == Pass::forward && world.rank() == guilty) model.fail(pass, reason);
      model.forward(x, {.mode = Mode::training, .commit = Commit::by_caller});
      if (pass == Pass::backward && world.rank() == guilty) model.fail(pass, reason);
      model.backward(dy);
    };
    REQUIRE_THROWS_AS(step(), DataError);
  }
  model.forward(x, {.mode = Mode::training});
  model.backward(dy);
}

TEST_CASE("a loss that is not finite ends the step on all ranks", "[train]") {
  const Communicator world = Communicator::world();
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Dense({.units = 1}));
  Trainer trainer(model, Sgd(), MeanSquaredError());
  const Tensor x({2, 3}, DType::float64);
  Tensor targets({2, 1}, DType::float64);
  trainer.step(x, targets);
  const auto before = state_of(trainer);
  if (world.rank() == world.size() - 1) targets.values<double>()[0] = std::nan("");
  REQUIRE_THROWS_AS(trainer.step(x, targets), NonFiniteError);
  REQUIRE_ON_ALL_RANKS(world, state_of(trainer) == before);
}

TEST_CASE("ranks that evaluate different things are told so", "[train]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const TrapData data;
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd(), TrapLoss{});
  REQUIRE_THROWS_AS(trainer.evaluate(data, 8 + world.rank()), MismatchError);
  const auto evaluate_or_fit = [&] {
    if (world.rank() == 0)
      static_cast<void>(trainer.evaluate(data));
    else
      trainer.fit(data);
  };
  REQUIRE_THROWS_AS(evaluate_or_fit(), MismatchError);
  REQUIRE_NOTHROW(trainer.fit(data));
}
