// Calls that measure: the moments of all elements, and not a bit of the layer changes.

#include "lockstep/layers/population.hpp"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/moments.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::int64_t num_channels = 3;
constexpr std::int64_t num_rows = 24;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

// Rows whose level drifts, so that every batch and every rank has a mean of its own.
Tensor population(std::uint64_t seed = 1) {
  Tensor rows = random_tensor({num_rows, num_channels}, seed);
  const auto values = rows.values<double>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 3.0 + 0.1 * static_cast<double>(i);
  return rows;
}

BatchNormalization built(BatchNormalizationOptions options) {
  options.dtype = DType::float64;
  BatchNormalization layer(std::move(options));
  layer.build({1, num_channels}, world());
  return layer;
}

Tensor measure(Layer& layer, const Tensor& x, PopulationRecorder& recorder) {
  return output_of(layer, x, {.mode = Mode::training, .step = 0, .population = &recorder});
}

Tensor train(Layer& layer, const Tensor& x) {
  return output_of(layer, x, {.mode = Mode::training, .step = 0});
}

// Measures rows as batches of 12 and 12, each cut over the ranks.
PopulationStatistics measured(Layer& layer, const Tensor& rows,
                              const std::vector<std::int64_t>& cut) {
  PopulationRecorder recorder;
  const std::int64_t first = first_of(cut, world().rank());
  const std::int64_t count = cut[static_cast<std::size_t>(world().rank())];
  for (const std::int64_t batch : {0, 12})
    measure(layer, rows_of(rows, batch + first, count), recorder);
  return recorder.statistics(world());
}

bool is_close(const LayerPopulation& found, const ChannelMoments& expected) {
  return found.count == expected.count && distance(found.mean, expected.mean) < 1e-14 &&
         distance(found.variance, expected.variance) < 1e-13;
}

bool is_same_everywhere(const LayerPopulation& found) {
  std::vector<double> all = found.count;
  for (const auto* values : {&found.mean, &found.variance})
    all.insert(all.end(), values->begin(), values->end());
  return is_same_on_all_ranks(world(), std::as_bytes(std::span(all)));
}

Tensor tensor_of(double value) { return Tensor::of<double>(std::array{value}, {1}); }

// Every way to share batch statistics.
std::vector<BatchNormalizationOptions> groupings() {
  std::vector<BatchNormalizationOptions> all{{.synchronized = false}, {.synchronized = true}};
  for (int size = 1; size <= world().size(); ++size)
    all.push_back({.synchronized = true, .synchronization_group = BySize{size}});
  all.push_back({.synchronized = true, .synchronization_group = ByColor{world().rank() % 2}});
  return all;
}

// Every option that keeps something of its own, or draws something.
std::vector<BatchNormalizationOptions> variants() {
  return {{.momentum = 0.9},
          {.momentum = std::nullopt, .synchronized = true},
          {.zero_debias_moving_mean = true, .synchronized = true},
          {.renorm = true, .renorm_momentum = 0.8, .synchronized = true},
          {.moving_variance = MovingVariance::unbiased, .updates = Updates::deferred},
          {.virtual_batch_size = 2, .synchronized = true}};
}

}  // namespace

TEST_CASE("what is measured are the moments of all elements, however they are grouped and cut") {
  const Tensor rows = population();
  const ChannelMoments expected = moments_of(rows.values<double>(), num_channels);
  for (const BatchNormalizationOptions& options : groupings())
    for (const auto& cut : cuts_of(12, world().size())) {
      BatchNormalization layer = built(options);
      const PopulationStatistics found = measured(layer, rows, cut);
      REQUIRE_ON_ALL_RANKS(world(), found.size() == 1 && found[0].layer == layer.name());
      REQUIRE_ON_ALL_RANKS(world(), is_close(found[0], expected));
      REQUIRE_ON_ALL_RANKS(world(), is_same_everywhere(found[0]));
    }
}

TEST_CASE("ghost batches are taken apart, so that elements are measured and not averages") {
  const Tensor rows = population();
  const ChannelMoments expected = moments_of(rows.values<double>(), num_channels);
  for (const bool synchronized : {false, true})
    for (const GhostGrouping grouping : {GhostGrouping::strided, GhostGrouping::contiguous}) {
      std::vector<std::int64_t> cut(static_cast<std::size_t>(world().size()), 2);
      cut.back() = 12 - 2 * (world().size() - 1);
      BatchNormalization layer = built(
          {.virtual_batch_size = 2, .ghost_grouping = grouping, .synchronized = synchronized});
      const PopulationStatistics found = measured(layer, rows, cut);
      REQUIRE_ON_ALL_RANKS(world(), found.size() == 1 && is_close(found[0], expected));
      REQUIRE_ON_ALL_RANKS(world(), is_same_everywhere(found[0]));
    }
}

TEST_CASE("channels along any axes are measured over all other axes") {
  const Tensor images = random_tensor({4, 3, 5, 2}, 5);
  for (const int axis : {1, 2, 3, -1}) {
    BatchNormalization layer({.axis = axis, .synchronized = true, .dtype = DType::float64});
    layer.build(images.shape(), world());
    PopulationRecorder recorder;
    BatchNormalizationTape tape;
    Tensor y(images.shape(), DType::float64);
    layer.forward(images, y, {.mode = Mode::training, .tape = &tape, .population = &recorder});
    const PopulationStatistics found = recorder.statistics(world());
    const auto equals = [](const std::vector<double>& a, std::span<const double> b) {
      return std::ranges::equal(a, b);
    };
    // One batch is the population.
    REQUIRE_ON_ALL_RANKS(world(), equals(found[0].count, tape.batch_count()));
    REQUIRE_ON_ALL_RANKS(world(), equals(found[0].mean, tape.batch_mean()));
    REQUIRE_ON_ALL_RANKS(world(), equals(found[0].variance, tape.batch_variance()));
  }
}

TEST_CASE("a call that measures changes no variable, and training goes on as without it") {
  for (const BatchNormalizationOptions& options : variants()) {
    BatchNormalization layer = built(options);
    BatchNormalization twin = built(options);
    for (const std::uint64_t step : {1U, 2U, 3U}) {
      train(layer, population(step));
      train(twin, population(step));
      const std::vector<double> before = values_of(layer.variables());
      PopulationRecorder recorder;
      measure(layer, population(9), recorder);
      REQUIRE_ON_ALL_RANKS(world(), values_of(layer.variables()) == before);
    }
    for (BatchNormalization* each : {&layer, &twin}) each->apply_updates();
    REQUIRE_ON_ALL_RANKS(world(), values_of(layer.variables()) == values_of(twin.variables()));
  }
}

TEST_CASE("the caller's commit of a call that measured commits nothing") {
  BatchNormalization layer = built({.synchronized = true});
  const std::vector<double> before = values_of(layer.variables());
  PopulationRecorder recorder;
  const auto tape = layer.make_tape();
  const Tensor x = population();
  Tensor y(x.shape(), DType::float64);
  layer.forward(x, y,
                {.mode = Mode::training,
                 .tape = tape.get(),
                 .commit = Commit::by_caller,
                 .population = &recorder});
  layer.commit(*tape);
  REQUIRE_ON_ALL_RANKS(world(), values_of(layer.variables()) == before);
}

TEST_CASE("what perturbs or corrects batches in training does not take part") {
  BatchNormalization plain = built({});
  BatchNormalization renormalizing = built({.renorm = true});
  int num_adjustments = 0;
  BatchNormalization adjusting = built({.adjustment = [&](const Shape&) {
    ++num_adjustments;
    return Adjustment{tensor_of(2.0), tensor_of(1.0)};
  }});
  const Tensor x = population();
  PopulationRecorder recorder;
  const Tensor expected = measure(plain, x, recorder);
  REQUIRE_ON_ALL_RANKS(world(), is_identical(expected, train(plain, x)));
  for (BatchNormalization* layer : {&renormalizing, &adjusting}) {
    REQUIRE_ON_ALL_RANKS(world(), is_identical(measure(*layer, x, recorder), expected));
    REQUIRE_ON_ALL_RANKS(world(), !is_identical(train(*layer, x), expected));
  }
  REQUIRE_ON_ALL_RANKS(world(), num_adjustments == 1);
}

TEST_CASE("dropout lets everything pass, and the masks of later calls are those without it") {
  const auto make = [] {
    Dropout layer({.rate = 0.5, .dtype = DType::float64});
    layer.build({1, num_channels}, world());
    return layer;
  };
  Dropout layer = make(), twin = make();
  const Tensor x = population();
  const Call without_step{.mode = Mode::training};
  for (int i = 0; i < 2; ++i) {
    PopulationRecorder recorder;
    Call call = without_step;
    call.population = &recorder;
    REQUIRE_ON_ALL_RANKS(world(), is_identical(output_of(layer, x, call), x));
    REQUIRE_ON_ALL_RANKS(
        world(), is_identical(output_of(layer, x, without_step), output_of(twin, x, without_step)));
  }
}

TEST_CASE("only layers that would learn are measured; the others work as in training") {
  const Tensor x = population();
  for (const BatchNormalizationOptions& options :
       {BatchNormalizationOptions{.trainable = false},
        {.trainable = false, .frozen_mode = FrozenMode::batch_statistics, .synchronized = true},
        {.track_moving_statistics = false, .synchronized = true}}) {
    BatchNormalization layer = built(options);
    PopulationRecorder recorder;
    const Tensor y = measure(layer, x, recorder);
    REQUIRE_ON_ALL_RANKS(world(), recorder.statistics(world()).empty());
    REQUIRE_ON_ALL_RANKS(world(), is_identical(y, train(layer, x)));
  }
  BatchNormalization updating =
      built({.trainable = false, .frozen_mode = FrozenMode::batch_statistics_updating});
  PopulationRecorder recorder;
  measure(updating, x, recorder);
  output_of(updating, x, {.mode = Mode::inference, .population = &recorder});
  REQUIRE_ON_ALL_RANKS(world(), recorder.statistics(world())[0].count[0] ==
                                    static_cast<double>(num_rows * world().size()));
}

TEST_CASE("what is not finite counts, fails, or leaves the batch's channel out, as in training") {
  const Tensor good = population();
  Tensor bad = population(2);
  bad.values<double>()[1] = not_a_number;
  const std::vector<double> expected = moments_of(good.values<double>(), num_channels).mean;
  for (const bool synchronized : {false, true}) {
    BatchNormalization skipping =
        built({.nonfinite = Nonfinite::skip_update, .synchronized = synchronized});
    PopulationRecorder recorder;
    measure(skipping, good, recorder);
    measure(skipping, bad, recorder);
    const LayerPopulation skipped = recorder.statistics(world())[0];
    REQUIRE_ON_ALL_RANKS(world(), 2.0 * skipped.count[1] == skipped.count[0]);
    REQUIRE_ON_ALL_RANKS(world(), std::abs(skipped.mean[1] - expected[1]) < 1e-13);

    BatchNormalization warning =
        built({.nonfinite = Nonfinite::warn, .synchronized = synchronized});
    PopulationRecorder warned;
    measure(warning, bad, warned);
    measure(warning, good, warned);
    const LayerPopulation spoiled = warned.statistics(world())[0];
    REQUIRE_ON_ALL_RANKS(world(), spoiled.count[1] == spoiled.count[0]);
    REQUIRE_ON_ALL_RANKS(world(), std::isnan(spoiled.mean[1]) && std::isfinite(spoiled.mean[0]));

    BatchNormalization failing = built({.synchronized = synchronized});
    PopulationRecorder none;
    const Caught caught = caught_from([&] { measure(failing, bad, none); });
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::non_finite));
    REQUIRE_ON_ALL_RANKS(world(), none.statistics(world()).empty());
  }
}

TEST_CASE("layers that share their moving statistics are one population") {
  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization first({.synchronized = true, .dtype = DType::float64, .name = "bn"});
  BatchNormalization second({.dtype = DType::float64, .name = "bn", .scope = {.reuse = true}});
  for (BatchNormalization* layer : {&first, &second}) layer->build({1, num_channels}, world());
  PopulationRecorder recorder;
  Tensor all({2 * num_rows, num_channels}, DType::float64);
  for (const std::int64_t part : {0, 1}) {
    const Tensor x = population(static_cast<std::uint64_t>(part));
    measure(part == 0 ? first : second, x, recorder);
    std::ranges::copy(
        x.values<double>(),
        MutableTensorView(all).rows(part * num_rows, num_rows).values<double>().begin());
  }
  ChannelMoments expected = moments_of(all.values<double>(), num_channels);
  for (double& count : expected.count) count *= world().size();
  const PopulationStatistics found = recorder.statistics(world());
  REQUIRE_ON_ALL_RANKS(world(), found.size() == 1 && is_close(found[0], expected));
  REQUIRE_ON_ALL_RANKS(world(), is_same_everywhere(found[0]));
}

TEST_CASE("statistics of layers that are merged already are one message, of others two more") {
  if (world().is_solo()) return;
  for (const bool synchronized : {false, true}) {
    BatchNormalization layer = built({.synchronized = synchronized});
    PopulationRecorder recorder;
    measure(layer, population(), recorder);
    const std::int64_t before = num_collectives();
    static_cast<void>(recorder.statistics(world()));
    REQUIRE_ON_ALL_RANKS(world(), num_collectives() - before == (synchronized ? 1 : 3));
  }
}

TEST_CASE("ranks that have measured different layers are told so") {
  if (world().is_solo()) return;
  BatchNormalization layer = built({.name = "bn"});
  PopulationRecorder recorder;
  if (world().rank() == 1) measure(layer, population(), recorder);
  const Caught caught = caught_from([&] { static_cast<void>(recorder.statistics(world())); });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  CHECK_THAT(caught.what, Catch::Contains("bn of 3 channels"));
}
