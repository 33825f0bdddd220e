// The trainer: what it reports, how runs continue and end, what it sends.

#include "lockstep/train/trainer.hpp"

#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/synthetic.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"
#include "train/blobs.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Fixture {
  Communicator world = Communicator::world();
  Sequential model{{.dtype = DType::float64}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;

  explicit Fixture(TrainerOptions options = {}, bool synchronized = true) {
    model.add(Dense({.units = 5}));
    model.add(BatchNormalization({.synchronized = synchronized}));
    model.add(Dense({.units = 3}));
    trainer = std::make_unique<Trainer>(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                                        SparseCategoricalCrossentropy{}, std::move(options));
  }

  std::vector<double> variables() { return values_of(model.variables()); }
};

class StopAfter final : public Callback {
 public:
  StopAfter(std::int64_t step, bool is_active) : step_(step), is_active_(is_active) {}
  void on_step_end(Trainer& trainer, const StepRecord& record) override {
    if (is_active_ && record.step == step_) trainer.request_stop();
  }

 private:
  std::int64_t step_;
  bool is_active_;
};

}  // namespace

TEST_CASE("two runs of fit are one run of both lengths", "[train]") {
  Fixture once, twice;
  once.trainer->fit(blobs(), {.epochs = 4, .batch_size = 8, .seed = 1});
  twice.trainer->fit(blobs(), {.epochs = 1, .batch_size = 8, .seed = 1});
  const History rest = twice.trainer->fit(blobs(), {.epochs = 3, .batch_size = 8, .seed = 1});
  REQUIRE_ON_ALL_RANKS(once.world, once.variables() == twice.variables());
  REQUIRE_ON_ALL_RANKS(once.world, rest.epochs.size() == 3);
  REQUIRE_ON_ALL_RANKS(once.world, rest.epochs.front().epoch == 1);
  REQUIRE_ON_ALL_RANKS(once.world, rest.epochs.back().num_steps == 16);
  REQUIRE_ON_ALL_RANKS(once.world, rest.epochs.back().training.num_samples == 30);
}

TEST_CASE("replicas stay equal bit for bit", "[train]") {
  Fixture f;
  f.trainer->fit(blobs(), {.epochs = 3, .batch_size = 8});
  const std::vector<double> mine = f.variables();
  REQUIRE_ON_ALL_RANKS(f.world, is_same_on_all_ranks(f.world, std::as_bytes(std::span(mine))));
}

TEST_CASE("a run ends on all ranks when one asks for it", "[train]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int asking = GENERATE_COPY(range(0, num_ranks));
  const auto stop = std::make_shared<StopAfter>(4, f.world.rank() == asking);
  const History history =
      f.trainer->fit(blobs(), {.epochs = 9, .batch_size = 8, .callbacks = {stop}});
  REQUIRE_ON_ALL_RANKS(f.world, f.trainer->num_steps() == 6);
  REQUIRE_ON_ALL_RANKS(f.world, history.epochs.size() == 2);
}

TEST_CASE("a step sends one message per synchronized direction and one with the gradients",
          "[train]") {
  const bool synchronized = GENERATE(true, false);
  Fixture f({.metrics = {std::make_shared<SparseCategoricalAccuracy>()}}, synchronized);
  f.trainer->fit(blobs(), {.epochs = 1, .batch_size = 10});
  const std::int64_t expected = f.world.is_solo() ? 0 : synchronized ? 3 : 1;
  Tensor x({2, 4}, DType::float64), t(Shape{2}, DType::int64);
  blobs().read(std::vector<std::int64_t>{1, 2}, x, t);
  f.trainer->step(x, t);
  for (int i = 0; i < 3; ++i) {
    const std::int64_t before = num_collectives();
    f.trainer->step(x, t);
    REQUIRE_ON_ALL_RANKS(f.world, num_collectives() - before == expected);
  }
}

TEST_CASE("averaging over ranks weighs ranks, averaging over samples weighs samples", "[train]") {
  // Rank 0 has one sample, every other one two; all samples of a rank are equal.
  const Communicator world = Communicator::world();
  const auto gradient_of = [&](Averaging averaging) {
    Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
    model.add(Dense({.units = 1, .use_bias = false, .kernel_initializer = Zeros{}}));
    Trainer trainer(model, Sgd({.learning_rate = 1.0}), MeanSquaredError{},
                    {.averaging = averaging});
    const std::int64_t count = world.rank() == 0 ? 1 : 2;
    Tensor x({count, 1}, DType::float64), t({count, 1}, DType::float64);
    std::ranges::fill(x.values<double>(), 1.0);
    std::ranges::fill(t.values<double>(), 1.0 + world.rank());
    trainer.step(x, t);
    return -model.variable("dense/kernel").value().values<double>()[0];
  };
  double by_samples = 0.0, by_ranks = 0.0, num_samples = 0.0;
  for (int rank = 0; rank < world.size(); ++rank) {
    const double count = rank == 0 ? 1.0 : 2.0;
    by_samples += count * -2.0 * (1.0 + rank);
    by_ranks += -2.0 * (1.0 + rank) / world.size();
    num_samples += count;
  }
  REQUIRE_ON_ALL_RANKS(
      world, std::abs(gradient_of(Averaging::samples) - by_samples / num_samples) < 1e-12);
  REQUIRE_ON_ALL_RANKS(world, std::abs(gradient_of(Averaging::ranks) - by_ranks) < 1e-12);
}

TEST_CASE("a step without any sample changes nothing", "[train]") {
  Fixture f;
  f.trainer->fit(blobs(), {.epochs = 1, .batch_size = 10});
  const auto before = f.variables();
  const Tensor x({0, 4}, DType::float64), t(Shape{0}, DType::int64);
  const StepRecord& record = f.trainer->step(x, t);
  REQUIRE_ON_ALL_RANKS(f.world, record.training.num_samples == 0);
  REQUIRE_ON_ALL_RANKS(f.world, f.variables() == before);
}

TEST_CASE("what cannot be trained is refused on all ranks", "[train]") {
  Fixture f;
  f.trainer->fit(blobs());
  const auto fit = [&](FitOptions options) {
    try {
      f.trainer->fit(blobs(), options);
      return std::string();
    } catch (const ArgumentError& error) {
      return std::string(error.what());
    }
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(fit({.epochs = -1}), Contains("epochs"));
  CHECK_THAT(fit({.batch_size = 0}), Contains("batch"));
  CHECK_THAT(fit({.max_steps = -1}), Contains("max_steps"));
  const SyntheticBlobs other({.num_samples = 4, .num_classes = 3, .num_features = 5});
  CHECK_THROWS_AS(f.trainer->fit(other), ArgumentError);
  CHECK_NOTHROW(f.trainer->fit(blobs()));
  if (f.world.size() > 1)
    CHECK_THROWS_AS(f.trainer->fit(blobs(), {.batch_size = 8 + f.world.rank()}), MismatchError);
}
