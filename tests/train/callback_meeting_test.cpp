// Callbacks that meet after steps and at the end of a run: when they are called, what they may do,
// and that a failure of one rank is known to all.

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
#include "train/blobs.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Fixture {
  Communicator world = Communicator::world();
  Sequential model{{.dtype = DType::float64}, Strategy(Communicator::world())};
  Trainer trainer{model, Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                  SparseCategoricalCrossentropy{}};

  Fixture() {
    model.add(Dense({.units = 5}));
    model.add(BatchNormalization({.synchronized = true}));
    model.add(Dense({.units = 3}));
  }
};

// Takes the state where it may, and throws after a step or at the end.
class Meeting final : public Callback {
 public:
  explicit Meeting(std::int64_t interval, std::int64_t throws_at = -1, bool at_fit_end = false)
      : interval_(interval), throws_at_(throws_at), at_fit_end_(at_fit_end) {}

  std::int64_t meeting_interval() const noexcept override { return interval_; }
  void on_step_end(Trainer& trainer, const StepRecord&) override {
    ++num_steps;
    if (trainer.num_steps() == throws_at_ && !at_fit_end_) throw std::runtime_error("boom");
    if (interval_ > 0 && trainer.num_steps() % interval_ == 0) take(trainer);
  }
  void on_fit_end(Trainer& trainer, const History& history) override {
    if (at_fit_end_) throw std::runtime_error("boom");
    num_epochs = std::ssize(history.epochs);
    take(trainer);
  }

  int num_steps = 0;
  std::int64_t num_epochs = -1;
  int num_states = 0;

 private:
  void take(Trainer& trainer) {
    static_cast<void>(trainer.evaluate(blobs()));
    if (!trainer.state().empty()) ++num_states;
  }

  std::int64_t interval_;
  std::int64_t throws_at_;
  bool at_fit_end_;
};

}  // namespace

TEST_CASE("callbacks meet after the steps that they ask for, and at the end of a run", "[train]") {
  Fixture f;
  const auto meeting = std::make_shared<Meeting>(3);
  f.trainer.fit(blobs(), {.epochs = 2, .batch_size = 8, .callbacks = {meeting}});
  REQUIRE_ON_ALL_RANKS(f.world, meeting->num_steps == 8);
  REQUIRE_ON_ALL_RANKS(f.world, meeting->num_epochs == 2);
  REQUIRE_ON_ALL_RANKS(f.world, meeting->num_states == (f.world.rank() == 0 ? 3 : 0));
}

TEST_CASE("steps without a meeting send nothing more", "[train]") {
  const auto num_messages = [](std::int64_t interval) {
    Fixture f;
    class Idle final : public Callback {
     public:
      explicit Idle(std::int64_t every) : every_(every) {}
      std::int64_t meeting_interval() const noexcept override { return every_; }

     private:
      std::int64_t every_;
    };
    const std::int64_t before = num_collectives();
    f.trainer.fit(blobs(), {.batch_size = 3, .callbacks = {std::make_shared<Idle>(interval)}});
    return num_collectives() - before;
  };
  const Communicator world = Communicator::world();
  const std::int64_t none = num_messages(0), some = num_messages(5);
  REQUIRE_ON_ALL_RANKS(world, some - none == (world.is_solo() ? 0 : 2));  // of 10 steps
}

TEST_CASE("a rank whose callback throws before a meeting is named by all ranks", "[train]") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  for (const std::int64_t step : {2, 3})  // between meetings, and at one
    for (const bool at_fit_end : {false, true}) {
      Fixture f;
      const bool throws = world.rank() == guilty;
      const auto meeting = std::make_shared<Meeting>(3, throws ? step : -1, throws && at_fit_end);
      const Caught caught =
          caught_from([&] { f.trainer.fit(blobs(), {.batch_size = 8, .callbacks = {meeting}}); });
      INFO(caught.what);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign));
      REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      f.trainer.fit(blobs(), {.batch_size = 8, .callbacks = {std::make_shared<Meeting>(3)}});
      const auto mine = values_of(f.model.variables());
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(mine))));
    }
}

TEST_CASE("ranks whose callbacks ask for different meetings are told so", "[train]") {
  Fixture f;
  if (f.world.is_solo()) return;
  const auto meeting = std::make_shared<Meeting>(f.world.rank() == 0 ? 3 : 4);
  const Caught caught = caught_from([&] { f.trainer.fit(blobs(), {.callbacks = {meeting}}); });
  REQUIRE_ON_ALL_RANKS(f.world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(f.world, caught.what.find("callbacks meet") != std::string::npos);
}

TEST_CASE("runs that end within an epoch go on there", "[train]") {
  Fixture once, thrice;
  once.trainer.fit(blobs(), {.epochs = 3, .batch_size = 8, .seed = 1});
  for (const std::int64_t num_steps : {3, 3, 6})
    thrice.trainer.fit(blobs(), {.epochs = 3, .batch_size = 8, .max_steps = num_steps, .seed = 1});
  REQUIRE_ON_ALL_RANKS(once.world,
                       values_of(once.model.variables()) == values_of(thrice.model.variables()));
  REQUIRE_ON_ALL_RANKS(once.world, thrice.trainer.num_epochs() == 3);
}

TEST_CASE("a run over other batches begins with the next epoch", "[train]") {
  Fixture f;
  f.trainer.fit(blobs(), {.batch_size = 8, .max_steps = 3});
  REQUIRE_ON_ALL_RANKS(f.world, f.trainer.num_epochs() == 0);
  const History history = f.trainer.fit(blobs(), {.batch_size = 10});
  REQUIRE_ON_ALL_RANKS(f.world, history.epochs.at(0).epoch == 1);
  REQUIRE_ON_ALL_RANKS(f.world, history.epochs.at(0).training.num_samples == 30);
  REQUIRE_ON_ALL_RANKS(f.world, f.trainer.num_epochs() == 2);
}
