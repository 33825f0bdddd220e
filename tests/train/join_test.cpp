// Ranks with different numbers of batches: what is learned is what one process learns from all of
// them, and nobody waits.

#include "lockstep/train/join.hpp"

#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::int64_t num_samples = 29;

const SyntheticBlobs& blobs() {
  static const SyntheticBlobs data(
      {.num_samples = num_samples, .num_classes = 3, .num_features = 4});
  return data;
}

Sequential model_of(const Strategy& strategy) {
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy);
  model.add(Dense({.units = 6, .input_shape = Shape{4}}));
  model.add(SyncBatchNormalization({.momentum = 0.9}));
  model.add(Activation({.function = ActivationFunction::tanh}));
  model.add(Dropout({.rate = 0.2}));
  model.add(Dense({.units = 3, .kernel_regularizer = l2(0.01)}));
  return model;
}

struct Run {
  Sequential model;
  Trainer trainer;
  explicit Run(const Strategy& strategy = Strategy(Communicator::world()))
      : model(model_of(strategy)),
        trainer(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                SparseCategoricalCrossentropy{},
                {.metrics = {std::make_shared<SparseCategoricalAccuracy>()}, .seed = 5}) {}
};

// Consecutive samples of the data, as a rank has them.
class Part final : public Dataset {
 public:
  Part(std::int64_t first, std::int64_t count) : first_(first), count_(count) {}
  std::int64_t num_samples() const noexcept override { return count_; }
  Shape input_shape() const override { return {4}; }
  Shape target_shape() const override { return {}; }
  DType input_dtype() const noexcept override { return DType::float32; }
  DType target_dtype() const noexcept override { return DType::int64; }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override {
    std::vector<std::int64_t> of_all(indices.begin(), indices.end());
    for (std::int64_t& index : of_all) index += first_;
    blobs().read(of_all, inputs, targets);
  }
  std::int64_t first_, count_;
};

// Samples of a rank's nth batch, as numbers among those of all ranks.
std::vector<std::int64_t> batch_of(const std::vector<std::int64_t>& cut, int rank,
                                   std::int64_t batch_size, std::int64_t number) {
  const std::int64_t count = cut[static_cast<std::size_t>(rank)];
  const std::int64_t first = std::min(number * batch_size, count);
  std::vector<std::int64_t> samples(static_cast<std::size_t>(std::min(batch_size, count - first)));
  std::iota(samples.begin(), samples.end(), first_of(cut, rank) + first);
  return samples;
}

std::int64_t num_batches_of(std::int64_t count, std::int64_t batch_size) {
  return (count + batch_size - 1) / batch_size;
}

const StepRecord& step(Trainer& trainer, const std::vector<std::int64_t>& samples) {
  Tensor x({std::ssize(samples), 4}, DType::float64), t(Shape{std::ssize(samples)}, DType::int64);
  blobs().read(samples, x, t);
  return trainer.step(x, t, samples);
}

// Ranks take batches of different sizes.
std::int64_t batch_size_of(int rank) { return 3 + rank % 2; }

// What one process learns from the ranks' batches together, and the losses and accuracies.
std::vector<double> learned_alone(const std::vector<std::int64_t>& cut, int num_epochs) {
  Run run{Strategy()};
  std::vector<double> result;
  const int num_ranks = static_cast<int>(cut.size());
  for (int epoch = 0; epoch < num_epochs; ++epoch)
    for (std::int64_t i = 0;; ++i) {
      std::vector<std::int64_t> samples;
      for (int rank = 0; rank < num_ranks; ++rank)
        for (const std::int64_t sample : batch_of(cut, rank, batch_size_of(rank), i))
          samples.push_back(sample);
      if (samples.empty()) break;
      const StepRecord& record = step(run.trainer, samples);
      result.insert(result.end(), {record.training.loss, record.training.metrics[0]});
    }
  for (const double value : values_of(run.model.variables())) result.push_back(value);
  return result;
}

class Scribe final : public Callback {
 public:
  void on_step_end(Trainer&, const StepRecord& record) override {
    values.insert(values.end(), {record.training.loss, record.training.metrics[0]});
  }
  std::vector<double> values;
};

}  // namespace

TEST_CASE("ranks with data of their own learn what one process learns from all of them") {
  const Communicator world = Communicator::world();
  for (const auto& cut : cuts_of(num_samples, world.size())) {
    const std::vector<double> alone = learned_alone(cut, 2);
    Run run;
    const auto scribe = std::make_shared<Scribe>();
    const History history = run.trainer.fit(
        Part(first_of(cut, world.rank()), cut[static_cast<std::size_t>(world.rank())]),
        {.epochs = 2,
         .batch_size = batch_size_of(world.rank()),
         .sharding = Sharding::own_data,
         .shuffle = false,
         .validation = &blobs(),
         .callbacks = {scribe}});
    std::vector<double> together = scribe->values;
    for (const double value : values_of(run.model.variables())) together.push_back(value);
    REQUIRE_ON_ALL_RANKS(world, distance(together, alone) < 1e-12);
    for (const EpochRecord& epoch : history.epochs) {
      REQUIRE_ON_ALL_RANKS(world, epoch.is_whole && epoch.training.num_samples == num_samples);
      REQUIRE_ON_ALL_RANKS(world, epoch.validation->num_samples == num_samples);
    }
  }
}

TEST_CASE("own data are shuffled, dropped and counted by each rank") {
  const Communicator world = Communicator::world();
  const std::int64_t count = 3 * world.rank() + 2;  // 2, 5, 8, 11
  Run run;
  const History history = run.trainer.fit(
      Part(0, count),
      {.epochs = 3, .batch_size = 2, .sharding = Sharding::own_data, .drop_remainder = true});
  std::int64_t num_used = 0;
  for (int rank = 0; rank < world.size(); ++rank) num_used += (3 * rank + 2) / 2 * 2;
  for (const EpochRecord& epoch : history.epochs)
    REQUIRE_ON_ALL_RANKS(world, epoch.training.num_samples == num_used);
  REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == 3 * ((3 * world.size() - 1) / 2));
  const std::vector<double> mine = values_of(run.model.variables());
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(mine))));
}

TEST_CASE("a run of own data ends early, or with nobody's data, on all ranks") {
  const Communicator world = Communicator::world();
  Run run;
  const Part some(0, world.rank() == 0 ? 12 : 0), none(0, 0);
  FitOptions options{.epochs = 2, .batch_size = 4, .sharding = Sharding::own_data, .max_steps = 4};
  const History history = run.trainer.fit(some, options);
  REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == 4);
  REQUIRE_ON_ALL_RANKS(world, history.epochs[0].is_whole && !history.epochs[1].is_whole);
  const auto before = values_of(run.model.variables());
  options.max_steps.reset();
  REQUIRE_ON_ALL_RANKS(world, run.trainer.fit(none, options).epochs.size() == 2);
  REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == 4);
  REQUIRE_ON_ALL_RANKS(world, values_of(run.model.variables()) == before);
  if (world.is_solo()) return;
  if (world.rank() == 1) options.sharding = Sharding::global_batches;
  REQUIRE_THROWS_AS(run.trainer.fit(none, options), MismatchError);
}

TEST_CASE("a run of own data that ended within an epoch goes on there") {
  const Communicator world = Communicator::world();
  const std::int64_t count = 4 * world.rank() + 9;
  const Part part(0, count);
  FitOptions options{.epochs = 2,
                     .batch_size = batch_size_of(world.rank()),
                     .sharding = Sharding::own_data,
                     .seed = 4};
  Run whole, parted;
  whole.trainer.fit(part, options);
  options.max_steps = 2;
  parted.trainer.fit(part, options);
  options.max_steps.reset();
  const History rest = parted.trainer.fit(part, options);
  REQUIRE_ON_ALL_RANKS(world, rest.epochs.size() == 2 && rest.epochs[0].is_whole);
  REQUIRE_ON_ALL_RANKS(
      world, rest.epochs[0].training.num_samples == world.size() * (9 + 2 * (world.size() - 1)));
  REQUIRE_ON_ALL_RANKS(world, parted.trainer.num_steps() == whole.trainer.num_steps());
  REQUIRE_ON_ALL_RANKS(world,
                       values_of(parted.model.variables()) == values_of(whole.model.variables()));
  // With other data of one rank the next epoch begins, on all ranks.
  options.max_steps = 1;
  parted.trainer.fit(part, options);
  options.max_steps.reset();
  options.epochs = 1;
  const bool is_last = world.rank() == world.size() - 1;
  const History other = parted.trainer.fit(Part(0, is_last ? count - 1 : count), options);
  REQUIRE_ON_ALL_RANKS(world, other.epochs[0].epoch == 3 && other.epochs[0].is_whole);
}

TEST_CASE("a join around a loop gives what one process gives") {
  const Communicator world = Communicator::world();
  for (const auto& cut : cuts_of(num_samples, world.size())) {
    const std::vector<double> alone = learned_alone(cut, 2);
    Run run;
    const std::int64_t batch_size = batch_size_of(world.rank());
    std::int64_t most = 0;
    for (int rank = 0; rank < world.size(); ++rank)
      most =
          std::max(most, num_batches_of(cut[static_cast<std::size_t>(rank)], batch_size_of(rank)));
    for (int epoch = 0; epoch < 2; ++epoch) {
      const Join join(run.trainer);
      const std::int64_t own =
          num_batches_of(cut[static_cast<std::size_t>(world.rank())], batch_size);
      for (std::int64_t i = 0; i < own; ++i)
        step(run.trainer, batch_of(cut, world.rank(), batch_size, i));
    }
    const std::vector<double> together = values_of(run.model.variables());
    const std::vector<double> expected(alone.end() - std::ssize(together), alone.end());
    REQUIRE_ON_ALL_RANKS(world, distance(together, expected) < 1e-12);
    REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == 2 * most);
  }
}

TEST_CASE("the step in which all ranks are out of data changes no bit and is none") {
  const Communicator world = Communicator::world();
  Run run, other;
  for (Trainer* trainer : {&run.trainer, &other.trainer}) step(*trainer, {1, 2});
  const std::int64_t num_messages = num_collectives();
  run.trainer.join();
  const std::int64_t num_sent = num_collectives() - num_messages;
  REQUIRE_ON_ALL_RANKS(world, num_sent == (world.is_solo() ? 0 : 3));
  REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == 1);
  for (Trainer* trainer : {&run.trainer, &other.trainer}) step(*trainer, {3, 4});
  REQUIRE_ON_ALL_RANKS(world,
                       values_of(run.model.variables()) == values_of(other.model.variables()));
}

TEST_CASE("steps with ranks that have joined send and allocate nothing more") {
  const Communicator world = Communicator::world();
  Run run;
  const std::vector<std::int64_t> samples{1, 2, 3};
  step(run.trainer, samples);
  Tensor x({3, 4}, DType::float64), t(Shape{3}, DType::int64);
  blobs().read(samples, x, t);
  constexpr std::int64_t num_own = 9;
  const auto loop = [&](bool has_data) {
    if (has_data)
      for (int i = 0; i < num_own; ++i) run.trainer.step(x, t, samples);
    run.trainer.join();
  };
  loop(world.rank() == 0);
  const std::int64_t num_messages = num_collectives(), num_taken = num_allocations();
  loop(world.rank() == 0);
  const std::int64_t num_new = num_allocations() - num_taken;
  const std::int64_t num_sent = num_collectives() - num_messages;
  REQUIRE_ON_ALL_RANKS(world, num_new == 0);
  REQUIRE_ON_ALL_RANKS(world, num_sent == (world.is_solo() ? 0 : 3 * (num_own + 1)));
}

TEST_CASE("a rank whose step fails while others have joined is named by all") {
  const Communicator world = Communicator::world();
  Run run;
  step(run.trainer, {1});
  const auto before = values_of(run.model.variables());
  const int last = world.size() - 1;
  const Caught caught = caught_from([&] {
    const Join join(run.trainer);
    const Tensor x({2, 4}, DType::float64), t(Shape{3}, DType::int64);  // other numbers of samples
    if (world.rank() == last) run.trainer.step(x, t);
  });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument) && caught.rank() == last);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  REQUIRE_ON_ALL_RANKS(world, values_of(run.model.variables()) == before);
  step(run.trainer, {1});
}

TEST_CASE(
    "a rank that leaves its loop by an exception of its own says so, from the first step on") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  for (int guilty = 0; guilty < num_ranks; ++guilty)
    for (const int num_steps : {0, 2}) {
      Run run;
      const Caught caught = caught_from([&] {
        const Join join(run.trainer);
        for (int i = 0; i < 4; ++i) {
          if (i == num_steps && world.rank() == guilty) throw std::runtime_error("no file");
          step(run.trainer, {i});
        }
      });
      INFO(caught.what);
      const bool is_here = world.rank() == guilty;
      REQUIRE_ON_ALL_RANKS(world, is_here ? caught.what == "no file" && !caught.origin
                                          : caught.is(ErrorCode::state));
      REQUIRE_ON_ALL_RANKS(world, is_here || caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, run.trainer.num_steps() == num_steps);
      step(run.trainer, {1});
    }
}

TEST_CASE("a rank tells of its own exception also after an error of all ranks was caught") {
  const Communicator world = Communicator::world();
  Run run;
  const int last = world.size() - 1;
  const Caught caught = caught_from([&] {
    const Join join(run.trainer);
    const Tensor x({2, 4}, DType::float64), t(Shape{3}, DType::int64);
    CHECK_THROWS_AS(run.trainer.step(x, t), ArgumentError);
    if (world.rank() == last) throw std::runtime_error("no file");
    step(run.trainer, {1});
  });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(
      world, world.rank() == last ? caught.what == "no file" : caught.is(ErrorCode::state));
  step(run.trainer, {1});
}

TEST_CASE("a rank that cannot make its step tells why") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  for (int guilty = 0; guilty < num_ranks; ++guilty)
    for (const bool is_first : {true, false}) {
      Run run;
      if (!is_first) step(run.trainer, {1});
      const Caught caught = caught_from([&] {
        const Join join(run.trainer);
        if (world.rank() == guilty)
          run.trainer.fail(std::make_exception_ptr(DataError("no labels")));
        step(run.trainer, {2});
      });
      INFO(caught.what);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data) && caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      step(run.trainer, {2});
    }
}

TEST_CASE("ranks that all join before the model knows its samples are told so") {
  const Communicator world = Communicator::world();
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(Dense({.units = 3}));
  Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy{});
  const int last = world.size() - 1;
  const Caught caught = caught_from([&] {
    if (world.rank() == last)
      trainer.join();
    else
      step(trainer, {1});
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::state) && caught.rank() == last);
  step(trainer, {1});
}

TEST_CASE("a layer alone goes on with empty batches until nobody has a sample") {
  const Communicator world = Communicator::world();
  BatchNormalization layer({.momentum = 0.5, .synchronized = true, .dtype = DType::float64});
  layer.build({1, 3}, world);
  BatchNormalizationTape tape;
  const auto pass = [&](std::int64_t count) {
    const Tensor x = random_tensor({count, 3}, 1);
    Tensor y({count, 3}, DType::float64), dx({count, 3}, DType::float64);
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    layer.backward(tape, x, dx);
    return tape.batch_count()[0] > 0.0;
  };
  int num_passes = 0;
  for (int i = 0; i < world.rank() + 1; ++i, ++num_passes) pass(2);
  const Variable& mean = layer.moving_mean();
  std::vector<double> before;
  do {
    before = values_of(mean);
    ++num_passes;
  } while (pass(0));
  REQUIRE_ON_ALL_RANKS(world, num_passes == world.size() + 1);
  REQUIRE_ON_ALL_RANKS(world, values_of(mean) == before);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(before))));
}
