// Runs that end early, on all ranks after the same step: by signals, by a file, by what a user
// asks.

#include <csignal>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/stop_signals.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/temporary_folder.hpp"
#include "support/variables.hpp"
#include "train/blobs.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Four steps per epoch.
struct Run {
  Communicator world = Communicator::world();
  Sequential model{{.dtype = DType::float64}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;

  Run() {
    model.add(Dense({.units = 5}));
    model.add(SyncBatchNormalization());
    model.add(Dense({.units = 3}));
    trainer = std::make_unique<Trainer>(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                                        SparseCategoricalCrossentropy{});
  }

  History fit(FitOptions options) {
    options.batch_size = 8;
    return trainer->fit(blobs(), options);
  }
};

// Raises a signal on this rank in the forward pass of one step, or after it.
class Raise final : public Callback {
 public:
  Raise(std::int64_t step, int signal) : step_(step), signal_(signal) {}
  void on_step_end(Trainer&, const StepRecord& record) override {
    if (record.step == step_) std::raise(signal_);
  }

 private:
  std::int64_t step_;
  int signal_;
};

int num_others = 0;
void note_other(int) { ++num_others; }

}  // namespace

TEST_CASE("a run ends on all ranks after the step in which one of them wants it") {
  const int num_ranks = Communicator::world().size();
  for (int asking = 0; asking < num_ranks; ++asking)
    for (const std::int64_t last : {1, 2, 4, 6, 8, 9}) {
      Run run, whole;
      std::int64_t num_asked = 0;
      const bool asks = run.world.rank() == asking;
      const History history = run.fit({.epochs = 3, .validation = &blobs(), .stop_when = [&] {
                                         return ++num_asked >= last && asks;
                                       }});
      // It is asked in every step, and after the fourth and eighth once more.
      const std::int64_t num_steps = last - (last - 1) / 5;
      REQUIRE_ON_ALL_RANKS(run.world, run.trainer->num_steps() == num_steps);
      REQUIRE_ON_ALL_RANKS(run.world, history.is_stopped);
      const EpochRecord& epoch = history.epochs.back();
      const bool is_whole = num_steps % 4 == 0;
      REQUIRE_ON_ALL_RANKS(run.world, epoch.num_steps == num_steps);
      REQUIRE_ON_ALL_RANKS(run.world, epoch.is_whole == is_whole);
      REQUIRE_ON_ALL_RANKS(run.world, epoch.validation.has_value() == is_whole);
      REQUIRE_ON_ALL_RANKS(run.world, std::ssize(history.epochs) == (num_steps + 3) / 4);
      const History steps = whole.fit({.epochs = 3, .max_steps = num_steps});
      REQUIRE_ON_ALL_RANKS(run.world, !steps.is_stopped);
      REQUIRE_ON_ALL_RANKS(run.world,
                           values_of(run.model.variables()) == values_of(whole.model.variables()));
    }
}

TEST_CASE("a wish that comes with the last step, or the last epoch's end, stops nothing") {
  const auto is_stopped = [](FitOptions options, std::int64_t nth) {
    std::int64_t num_asked = 0;
    options.stop_when = [&] { return ++num_asked >= nth; };
    return Run().fit(options).is_stopped;
  };
  const Communicator world = Communicator::world();
  for (const std::int64_t nth : {8, 9, 10})
    REQUIRE_ON_ALL_RANKS(world, is_stopped({.epochs = 2}, nth) == (nth < 9));
  REQUIRE_ON_ALL_RANKS(world, !is_stopped({.epochs = 2, .max_steps = 3}, 3));
  REQUIRE_ON_ALL_RANKS(world, !is_stopped({.epochs = 0}, 1));
}

TEST_CASE("a signal is noted, and ends the run after the next step at the latest") {
  const int num_ranks = Communicator::world().size();
  for (int asking = 0; asking < num_ranks; ++asking)
    for (const int signal : {SIGUSR1, SIGTERM}) {
      Run run;
      const StopSignals signals;
      FitOptions options{.epochs = 9, .stop_when = [&] { return signals.have_come(); }};
      if (run.world.rank() == asking) options.callbacks = {std::make_shared<Raise>(4, signal)};
      REQUIRE_ON_ALL_RANKS(run.world, !signals.have_come());
      const History history = run.fit(options);
      REQUIRE_ON_ALL_RANKS(run.world, history.is_stopped && run.trainer->num_steps() == 6);
      REQUIRE_ON_ALL_RANKS(run.world, signals.have_come() == (run.world.rank() == asking));
    }
}

TEST_CASE("signals are caught only as long as somebody wants it") {
  struct sigaction action {
  }, before{};
  action.sa_handler = note_other;
  sigaction(SIGUSR1, &action, &before);
  {
    const StopSignals signals;
    std::raise(SIGUSR1);
    CHECK(signals.have_come());
    CHECK(num_others == 0);
    CHECK_THROWS_AS(StopSignals(), StateError);
    std::raise(SIGUSR1);
    CHECK(num_others == 0);
  }
  std::raise(SIGUSR1);
  CHECK(num_others == 1);
  const int impossible[] = {SIGUSR1, SIGKILL};
  CHECK_THROWS_AS(StopSignals(impossible), ArgumentError);
  std::raise(SIGUSR1);
  CHECK(num_others == 2);
  CHECK_FALSE(StopSignals().have_come());
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("a stop file is looked for once per interval") {
  const TemporaryFolder folder;
  StopFile often(folder / "stop", std::chrono::milliseconds(0));
  StopFile rarely(folder / "stop", std::chrono::hours(1));
  CHECK_FALSE(often.is_there());
  CHECK_FALSE(rarely.is_there());
  set_content(folder / "stop", "");
  CHECK(often.is_there());
  CHECK_FALSE(rarely.is_there());
  often.remove();
  CHECK_FALSE(std::filesystem::exists(folder / "stop"));
  CHECK_FALSE(often.is_there());
  often.remove();
  CHECK_FALSE(StopFile(folder / "file" / "stop").is_there());
}

TEST_CASE("in a loop of one's own the record says that a rank has asked") {
  const int num_ranks = Communicator::world().size();
  for (int asking = 0; asking < num_ranks; ++asking) {
    Run run;
    Tensor x({2, 4}, DType::float64), t(Shape{2}, DType::int64);
    blobs().read(std::vector<std::int64_t>{1, 2}, x, t);
    for (int i = 0; i < 2; ++i) {
      REQUIRE_ON_ALL_RANKS(run.world, !run.trainer->step(x, t).is_stopping);
      if (run.world.rank() == asking) run.trainer->request_stop();
      REQUIRE_ON_ALL_RANKS(run.world, run.trainer->step(x, t).is_stopping);
    }
  }
}

TEST_CASE("a rank that cannot say whether it wants to stop is named by all") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (const int nth : {1, 4, 5, 10}) {  // 5, 10: at the end of an epoch
      Run run;
      int num_asked = 0;
      const auto ask = [&] {
        if (++num_asked == nth && world.rank() == guilty) throw std::runtime_error("boom");
        return false;
      };
      const Caught caught = caught_from([&] { run.fit({.epochs = 2, .stop_when = ask}); });
      INFO(caught.what);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign) && caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, caught.origin->phase == "stop_when");
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, run.trainer->num_steps() == nth - (nth == 10 ? 2 : 1));
      REQUIRE_ON_ALL_RANKS(world, !run.fit({.epochs = 1}).is_stopped);
    }
}
