// Moving statistics that groups of ranks have learned apart, merged, are those of all elements.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/external_statistics.hpp"
#include "lockstep/layers/population.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;
using testing::distance;
using testing::is_same_on_all_ranks;
using testing::num_allreduces;
using testing::num_collectives;
using testing::random_tensor;
using testing::values_of;

constexpr std::int64_t num_channels = 3;
constexpr std::optional<double> cumulative = std::nullopt;

// Another number of rows on every rank, none on rank 1, and another level on every rank.
Tensor batch_of(int rank, std::uint64_t step = 0) {
  const std::int64_t num_rows = rank == 1 ? 0 : 3 + 2 * rank;
  Tensor batch = random_tensor({num_rows, num_channels}, 10 * step + 7);
  for (double& value : batch.values<double>()) value += 4.0 * rank - static_cast<double>(step);
  return batch;
}

// Means, then biased variances, of the rows that all ranks have in some steps.
std::vector<double> moments_of_all(int num_ranks, std::uint64_t num_steps) {
  std::vector<double> means(num_channels), variances(num_channels);
  double count = 0.0;
  const auto for_each_row = [&](auto&& visit) {
    for (std::uint64_t step = 0; step < num_steps; ++step)
      for (int rank = 0; rank < num_ranks; ++rank) {
        const Tensor batch = batch_of(rank, step);
        for (std::int64_t row = 0; row < batch.shape()[0]; ++row)
          visit(batch.values<double>().subspan(static_cast<std::size_t>(row) * num_channels,
                                               num_channels));
      }
  };
  for_each_row([&](std::span<const double> row) {
    ++count;
    std::ranges::transform(means, row, means.begin(), std::plus());
  });
  for (double& mean : means) mean /= count;
  for_each_row([&](std::span<const double> row) {
    for (std::size_t c = 0; c < num_channels; ++c)
      variances[c] += (row[c] - means[c]) * (row[c] - means[c]) / count;
  });
  means.insert(means.end(), variances.begin(), variances.end());
  return means;
}

// All ways of grouping, and none: every rank for itself.
std::vector<BatchNormalizationOptions> groupings(const Communicator& world) {
  std::vector<BatchNormalizationOptions> all{{.momentum = cumulative}};
  for (int size = 1; size <= world.size(); ++size)
    all.push_back(
        {.momentum = cumulative, .synchronized = true, .synchronization_group = BySize{size}});
  all.push_back({.momentum = cumulative,
                 .synchronized = true,
                 .synchronization_group = ByColor{world.rank() % 2}});
  return all;
}

struct Run {
  BatchNormalization layer;
  BatchNormalizationTape tape;

  Run(BatchNormalizationOptions options, const Communicator& world, DType dtype = DType::float64)
      : layer([&] {
          options.dtype = dtype;
          return std::move(options);
        }()) {
    layer.build({1, num_channels}, world);
  }

  void train(const Tensor& x) {
    Tensor y(x.shape(), x.dtype());
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  }

  std::vector<double> moments() {
    return values_of(std::vector<Variable*>{&layer.moving_mean(), &layer.moving_variance()});
  }
  std::vector<double> values(const char* name) { return values_of(layer.variable(name)); }
  std::vector<double> state() { return values_of(layer.variables()); }
};

bool is_same_on_all_ranks(const Communicator& group, const std::vector<double>& values) {
  return testing::is_same_on_all_ranks(group, std::as_bytes(std::span(values)));
}

TEST_CASE("merged statistics are those of the elements of all ranks, whatever the groups") {
  const Communicator world = Communicator::world();
  const std::vector<double> expected = moments_of_all(world.size(), 1);
  for (const BatchNormalizationOptions& options : groupings(world)) {
    Run run(options, world);
    run.train(batch_of(world.rank()));
    run.layer.merge_statistics();
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, run.moments()));
    REQUIRE_ON_ALL_RANKS(world, distance(run.moments(), expected) < 1e-14);
    // Whoever merges again finds nothing new.
    run.layer.merge_statistics();
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, run.moments()));
    REQUIRE_ON_ALL_RANKS(world, distance(run.moments(), expected) < 1e-14);
  }
}

TEST_CASE("merged statistics count no element twice, however often they are merged") {
  const Communicator world = Communicator::world();
  std::vector<double> expected = moments_of_all(world.size(), 3);
  expected.resize(num_channels);  // the average of batch variances is another one
  for (const BatchNormalizationOptions& options : groupings(world)) {
    Run run(options, world);
    for (const std::uint64_t step : {0U, 1U, 2U}) {
      run.train(batch_of(world.rank(), step));
      if (step != 1) run.layer.merge_statistics();
    }
    REQUIRE_ON_ALL_RANKS(world, distance(run.values("moving_mean"), expected) < 1e-14);
  }
}

TEST_CASE("one group of all replicas has nothing to merge: no message, not a bit changes") {
  const Communicator world = Communicator::world();
  for (const SynchronizationGroup& group :
       std::vector<SynchronizationGroup>{AllReplicas{}, ByNode{}, BySize{world.size()}}) {
    Run run({.synchronized = true, .synchronization_group = group}, world);
    run.train(batch_of(world.rank()));
    const std::vector<double> before = run.state();
    const std::int64_t messages = num_collectives();
    run.layer.merge_statistics();
    CHECK(num_collectives() == messages);
    REQUIRE_ON_ALL_RANKS(world, run.state() == before);
  }
  Run untracked({.track_moving_statistics = false}, world);
  const std::int64_t messages = num_collectives();
  untracked.layer.merge_statistics();
  Dense({.units = 2}).merge_statistics();
  CHECK(num_collectives() == messages);
}

TEST_CASE("a merge is three allreduces, also where no group has learned anything") {
  const Communicator world = Communicator::world();
  Run run({.moving_mean_initializer = Constant{3.0}}, world);
  const std::vector<double> before = run.state();
  const std::int64_t allreduces = num_allreduces();
  const std::int64_t collectives = num_collectives();
  run.layer.merge_statistics();
  CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 3));
  CHECK(num_collectives() - collectives == (world.is_solo() ? 0 : 3));
  REQUIRE_ON_ALL_RANKS(world, run.state() == before);
}

// Every option that has moving variables of its own.
std::vector<BatchNormalizationOptions> variants() {
  return {{.momentum = 0.9},
          {.momentum = cumulative},
          {.momentum = 0.9, .zero_debias_moving_mean = true},
          {.momentum = 0.9, .renorm = true, .renorm_momentum = 0.8}};
}

TEST_CASE("groups that have learned the same keep all their variables, and go on alike") {
  const Communicator world = Communicator::world();
  for (const BatchNormalizationOptions& options : variants()) {
    Run merged(options, world);
    Run other(options, world);
    for (const std::uint64_t step : {0U, 1U, 2U}) {
      merged.train(batch_of(2, step));
      other.train(batch_of(2, step));
      merged.layer.merge_statistics();
      REQUIRE_ON_ALL_RANKS(world, distance(merged.state(), other.state()) < 1e-14);
    }
  }
}

TEST_CASE("further updates start from the merged statistics") {
  const Communicator world = Communicator::world();
  for (const BatchNormalizationOptions& options : variants()) {
    Run run(options, world);
    run.train(batch_of(world.rank() + 2));
    run.layer.merge_statistics();
    const std::vector<double> before = run.values("moving_mean");
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, run.moments()));
    run.train(batch_of(world.rank() + 2, 1));
    // With zero debias the first of two updates has the weight m (1 - m) / (1 - m^2).
    const double momentum = options.momentum.value_or(0.5);
    const double weight = options.zero_debias_moving_mean ? momentum / (1.0 + momentum) : momentum;
    std::vector<double> expected = before;
    for (std::size_t c = 0; c < num_channels; ++c)
      expected[c] = weight * before[c] + (1.0 - weight) * run.tape.batch_mean()[c];
    REQUIRE_ON_ALL_RANKS(world, distance(run.values("moving_mean"), expected) < 1e-14);
  }
}

TEST_CASE("with renorm, standard deviations are merged, and the variance follows from theirs") {
  const Communicator world = Communicator::world();
  const double epsilon = 1e-3;
  // The moving averages forget their initial values, so they are those of the batch.
  Run run({.momentum = 0.0, .epsilon = epsilon, .renorm = true, .renorm_momentum = 0.0}, world);
  run.train(batch_of(world.rank()));
  run.layer.merge_statistics();
  const std::vector<double> expected = moments_of_all(world.size(), 1);
  REQUIRE_ON_ALL_RANKS(world, distance(run.moments(), expected) < 1e-14);
  std::vector<double> stddev(expected.begin() + num_channels, expected.end());
  for (double& value : stddev) value = std::sqrt(value + epsilon);
  REQUIRE_ON_ALL_RANKS(world, distance(run.values("moving_stddev"), stddev) < 1e-14);
  REQUIRE_ON_ALL_RANKS(world, distance(run.values("renorm_stddev"), stddev) < 1e-14);
  REQUIRE_ON_ALL_RANKS(world, run.values("renorm_mean") == run.values("moving_mean"));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, run.values("moving_stddev")));
}

// Statistics of float32 whose union has a variance beyond float32 in channel 1.
void make_far(Run& run, const Communicator& world) {
  const float mean = world.rank() == 0 ? -3e38F : 3e38F;
  run.layer.moving_mean().assign(view(std::vector{1.0F, mean, 1.0F}, {num_channels}));
  run.layer.variable("num_elements").assign(view(std::vector{1.0, 1.0, 1.0}, {num_channels}));
}

TEST_CASE("merged statistics that overflow are an error on all ranks, and nothing changes") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Run run({.name = "bn"}, world, DType::float32);
  make_far(run, world);
  const Tensor before = Tensor::copy_of(run.layer.moving_mean().value());
  const Caught caught = caught_from([&] { run.layer.merge_statistics(); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->layer == "layer 'bn'");
  CHECK(caught.origin->channel == 1);
  CHECK_THAT(caught.what, Catch::Contains("overflow float32"));
  const auto is_unchanged = [&](const Variable& variable, const Tensor& old) {
    return std::ranges::equal(variable.value().values<float>(), old.values<float>());
  };
  REQUIRE_ON_ALL_RANKS(world, is_unchanged(run.layer.moving_mean(), before));

  Run warned({.nonfinite = Nonfinite::warn}, world, DType::float32);
  make_far(warned, world);
  warned.layer.merge_statistics();
  const auto variance = warned.layer.moving_variance().value().values<float>();
  REQUIRE_ON_ALL_RANKS(world, std::isinf(variance[1]) && variance[0] == 1.0F);
}

TEST_CASE("ranks that make another call than the merge are told so, and nothing changes") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Run run({.momentum = cumulative, .name = "bn"}, world);
  run.train(batch_of(world.rank() + 2));
  const std::vector<double> before = run.state();
  const Caught caught = caught_from([&] {
    if (world.rank() == 1)
      run.layer.set_mode(Mode::training);
    else
      run.layer.merge_statistics();
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK_THAT(caught.what, Catch::Contains("layer 'bn'") && Catch::Contains("merge_statistics"));
  REQUIRE_ON_ALL_RANKS(world, run.state() == before);
  run.layer.merge_statistics();
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, run.moments()));
}

TEST_CASE("deferred updates must be made before statistics are merged, replaced or imported") {
  const Communicator world = Communicator::world();
  Run run({.momentum = 0.5, .updates = Updates::deferred}, world);
  run.train(batch_of(3));
  const std::vector<double> before = run.state();
  const std::vector<double> ones(num_channels, 1.0);
  const LayerPopulation population{"bn", ones, ones, ones};
  const ExternalStatistics external = run.layer.export_statistics(keras_statistics("bn"));
  const std::vector<std::function<void()>> calls{
      [&] { run.layer.merge_statistics(); },
      [&] { run.layer.replace_moving_statistics(population); },
      [&] { run.layer.import_statistics(external); }};
  for (std::size_t i = world.is_solo() ? 1 : 0; i < calls.size(); ++i) {
    const Caught caught = caught_from(calls[i]);
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::state));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, caught.what.find("apply_updates()") != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, run.state() == before);
  }
  run.layer.apply_updates();
  for (const auto& call : calls) call();
}

TEST_CASE("a layer that is not built has no statistics to merge") {
  BatchNormalization layer;
  CHECK(caught_from([&] { layer.merge_statistics(); }).is(ErrorCode::state));
}

}  // namespace
}  // namespace lockstep
