// Losses and gradients that are not finite: named, skipped, or passed on, on all ranks alike.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Passes numbers through; its gradients become `value` where it is set.
class Spoiler final : public Layer {
 public:
  explicit Spoiler(const std::optional<double>& value)
      : Layer({"Spoiler", "", {}, {}, true}), value_(value) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "spoiler"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call&) override {
    std::ranges::copy(x.values<double>(), y.values<double>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    if (dx.is_null()) return;
    std::ranges::copy(dy.values<double>(), dx.values<double>().begin());
    if (value_ && dx.num_elements() > 0) dx.values<double>()[1] = *value_;
  }

 private:
  void do_create(const Shape&) override {}
  const std::optional<double>& value_;
};

// What a test can spoil of a rank's step.
enum class Where { target, below_last, below_first };

struct Run {
  Communicator world = Communicator::world();
  std::optional<double> spoilt_below_last, spoilt_below_first;
  Sequential model{{.dtype = DType::float64}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;
  Tensor x = random_tensor({4, 3}, 1);
  Tensor targets = random_tensor({4, 2}, 2);

  explicit Run(TrainerOptions options = {}, const Regularizer& regularizer = {}) {
    model.add(Dense({.units = 5, .kernel_regularizer = regularizer, .name = "first"}));
    model.add(Spoiler(spoilt_below_first));
    model.add(Dense({.units = 4, .name = "middle"}));
    model.add(SyncBatchNormalization({.name = "norm"}));
    model.add(Dense({.units = 3, .name = "between"}));
    model.add(Spoiler(spoilt_below_last));
    model.add(Dense({.units = 2, .name = "last"}));
    trainer = std::make_unique<Trainer>(model, Adam({.learning_rate = 0.1}), MeanSquaredError{},
                                        std::move(options));
    step();
  }

  const StepRecord& step() { return trainer->step(x, targets); }

  // A step with `value` where `guilty` has something else; afterwards all is well again.
  StepRecord spoilt_step(Where where, double value, int guilty) {
    const double target = targets.values<double>()[3];
    if (world.rank() == guilty) {
      if (where == Where::target) targets.values<double>()[3] = value;
      if (where == Where::below_last) spoilt_below_last = value;
      if (where == Where::below_first) spoilt_below_first = value;
    }
    const Heal heal{*this, target};
    return step();
  }

  std::vector<Tensor> state() {
    std::vector<Tensor> all;
    for (const Variable* variable : model.variables())
      all.push_back(Tensor::copy_of(variable->value()));
    for (const auto& [name, value] : trainer->optimizer().state()) all.push_back(*value);
    return all;
  }

 private:
  struct Heal {
    Run& run;
    double target;
    ~Heal() {
      run.targets.values<double>()[3] = target;
      run.spoilt_below_last.reset();
      run.spoilt_below_first.reset();
    }
  };
};

bool are_identical(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, is_identical);
}

struct Case {
  Where where;
  const char* named;  // in the message
};
const Case cases[] = {{Where::target, "trainer, loss, step 1: the loss is "},
                      {Where::below_last,
                       "layer 'between', gradients, step 1: the gradient of "
                       "'between/bias' is "},
                      {Where::below_first,
                       "layer 'first', gradients, step 1: the gradient of "
                       "'first/bias' is "}};

}  // namespace

TEST_CASE("a rank's NaN or infinity is an error that names rank, layer, tensor and step") {
  const int num_ranks = Communicator::world().size();
  for (int guilty = 0; guilty < num_ranks; ++guilty)
    for (const Case& spoilt : cases)
      for (const double value : {std::nan(""), infinity, -infinity}) {
        Run run, untouched;
        const auto before = run.state();
        const Caught caught =
            caught_from([&] { static_cast<void>(run.spoilt_step(spoilt.where, value, guilty)); });
        INFO(caught.what);
        REQUIRE_ON_ALL_RANKS(run.world, caught.is(ErrorCode::non_finite));
        REQUIRE_ON_ALL_RANKS(run.world, caught.rank() == guilty && caught.origin->step == 1);
        REQUIRE_ON_ALL_RANKS(run.world, caught.what.find(spoilt.named) != std::string::npos);
        REQUIRE_ON_ALL_RANKS(run.world, is_same_on_all_ranks(run.world, caught));
        REQUIRE_ON_ALL_RANKS(run.world, are_identical(run.state(), before));
        REQUIRE_ON_ALL_RANKS(run.world, run.trainer->num_steps() == 1);
        run.step();
        untouched.step();
        REQUIRE_ON_ALL_RANKS(run.world, are_identical(run.state(), untouched.state()));
      }
}

TEST_CASE("a step that is skipped changes nothing on any rank, and counts") {
  const int num_ranks = Communicator::world().size();
  for (int guilty = 0; guilty < num_ranks; ++guilty)
    for (const Case& spoilt : cases) {
      Run run({.nonfinite = Nonfinite::skip_update});
      const auto before = run.state();
      const StepRecord record = run.spoilt_step(spoilt.where, std::nan(""), guilty);
      REQUIRE_ON_ALL_RANKS(run.world, record.is_skipped && record.step == 1);
      REQUIRE_ON_ALL_RANKS(run.world,
                           std::isnan(record.training.loss) == (spoilt.where == Where::target));
      REQUIRE_ON_ALL_RANKS(run.world, are_identical(run.state(), before));
      REQUIRE_ON_ALL_RANKS(run.world, run.trainer->num_steps() == 2);
      REQUIRE_ON_ALL_RANKS(run.world, !run.step().is_skipped);
      REQUIRE_ON_ALL_RANKS(run.world, !are_identical(run.state(), before));
    }
}

TEST_CASE("a step that is only warned of goes on, with the numbers that it has") {
  Run run({.nonfinite = Nonfinite::warn});
  const StepRecord record = run.spoilt_step(Where::below_first, std::nan(""), 0);
  REQUIRE_ON_ALL_RANKS(run.world, !record.is_skipped && std::isfinite(record.training.loss));
  const auto bias = [&](const char* name) {
    return std::as_const(run.model.variable(name)).value().values<double>()[1];
  };
  REQUIRE_ON_ALL_RANKS(run.world, std::isnan(bias("first/bias")));
  REQUIRE_ON_ALL_RANKS(run.world, std::isfinite(bias("last/bias")));
}

TEST_CASE("an epoch reports how many steps were skipped, and the loss of the others") {
  const Communicator world = Communicator::world();
  Tensor x = random_tensor({12, 3}, 1), targets({12, 1}, DType::float64);
  targets.values<double>()[5] = std::nan("");
  const ArrayDataset data(std::move(x), std::move(targets));
  const auto fit = [&](Nonfinite policy) {
    Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
    model.add(Dense({.units = 1}));
    Trainer trainer(model, Sgd(), MeanSquaredError{}, {.nonfinite = policy});
    return trainer.fit(data, {.epochs = 2, .batch_size = 4, .shuffle = false}).epochs;
  };
  for (const EpochRecord& epoch : fit(Nonfinite::skip_update)) {
    REQUIRE_ON_ALL_RANKS(world, epoch.num_skipped == 1 && epoch.training.num_samples == 8);
    REQUIRE_ON_ALL_RANKS(world, std::isfinite(epoch.training.loss));
  }
  const auto warned = fit(Nonfinite::warn);
  REQUIRE_ON_ALL_RANKS(world, warned[0].num_skipped == 0 && std::isnan(warned[0].training.loss));
}

TEST_CASE("a sum of finite numbers that is not finite is an error too") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Run run;
  const auto before = run.state();
  const Caught caught = caught_from(
      [&] { static_cast<void>(run.spoilt_step(Where::below_first, 1.7e308, world.rank())); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  REQUIRE_ON_ALL_RANKS(world, are_identical(run.state(), before));
}

TEST_CASE("a penalty that is not finite is skipped as well") {
  Run run({.nonfinite = Nonfinite::skip_update}, l2(1e300));
  for (double& value : run.model.variable("first/kernel").value().values<double>()) value = 1e10;
  const auto before = run.state();
  REQUIRE_ON_ALL_RANKS(run.world, run.step().is_skipped);
  REQUIRE_ON_ALL_RANKS(run.world, are_identical(run.state(), before));
}

TEST_CASE("looking for numbers that are not finite sends and allocates nothing in a good step") {
  for (const Nonfinite policy : {Nonfinite::error, Nonfinite::skip_update, Nonfinite::warn}) {
    Run run({.nonfinite = policy});
    run.step();
    const std::int64_t num_messages = num_collectives(), num_taken = num_allocations();
    run.step();
    const std::int64_t num_sent = num_collectives() - num_messages;
    const std::int64_t num_new = num_allocations() - num_taken;
    REQUIRE_ON_ALL_RANKS(run.world, num_sent == (run.world.is_solo() ? 0 : 3));
    REQUIRE_ON_ALL_RANKS(run.world, num_new == 0);
  }
}

TEST_CASE("ranks of different policies are told so before the first step") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const Caught caught = caught_from([&] {
    const Run run({.nonfinite = world.rank() == 1 ? Nonfinite::warn : Nonfinite::error});
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("nonfinite") != std::string::npos);
}
