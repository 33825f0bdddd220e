// Populations that become moving statistics: inference normalizes by them, updates go on from them.

#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "lockstep/layers/population.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::int64_t num_channels = 3;
constexpr double epsilon = 1e-2;

const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

LayerPopulation population() { return {"bn", {5.0, 5.0, 5.0}, {1.0, -2.0, 1e3}, {0.5, 4.0, 1e-4}}; }

BatchNormalization built(BatchNormalizationOptions options,
                         const Shape& shape = {1, num_channels}) {
  options.epsilon = epsilon;
  if (!options.dtype) options.dtype = DType::float64;
  options.name = "bn";
  BatchNormalization layer(std::move(options));
  layer.build(shape, world());
  return layer;
}

void train(Layer& layer, std::uint64_t seed) {
  output_of(layer, random_tensor({6, num_channels}, seed), {.mode = Mode::training});
}

// The elements of the variable where there is one.
std::vector<double> values(BatchNormalization& layer, const char* name) {
  return values_of(layer.variable(name));
}

std::vector<double> mapped(std::vector<double> all, const std::function<double(double)>& map) {
  for (double& value : all) value = map(value);
  return all;
}

// Every option that decides what is stored, or what further updates start from.
std::vector<BatchNormalizationOptions> variants() {
  return {{.momentum = 0.9},
          {.momentum = 0.9, .moving_variance = MovingVariance::unbiased},
          {.momentum = std::nullopt},
          {.momentum = 0.9, .zero_debias_moving_mean = true},
          {.momentum = 0.9, .renorm = true, .renorm_momentum = 0.8}};
}

}  // namespace

TEST_CASE("inference normalizes by the population, trained or not, groups or not") {
  const LayerPopulation all = population();
  for (BatchNormalizationOptions options : variants())
    for (const bool synchronized : {false, true})
      for (const int num_steps : {0, 2}) {
        options.synchronized = synchronized;
        BatchNormalization layer = built(options);
        for (int step = 0; step < num_steps; ++step)
          train(layer, static_cast<std::uint64_t>(10 * world().rank() + step));
        layer.replace_moving_statistics(all);
        const bool is_unbiased = options.moving_variance == MovingVariance::unbiased;
        const Tensor x = random_tensor({4, num_channels}, 3);
        const Tensor y = output_of(layer, x, {.mode = Mode::inference});
        std::vector<double> expected;
        for (std::size_t i = 0; i < 4 * num_channels; ++i) {
          const std::size_t c = i % num_channels;
          const double variance = all.variance[c] * (is_unbiased ? 5.0 / 4.0 : 1.0);
          expected.push_back((x.values<double>()[i] - all.mean[c]) / std::sqrt(variance + epsilon));
        }
        REQUIRE_ON_ALL_RANKS(world(), distance(y.values<double>(), expected) < 1e-13);
        REQUIRE_ON_ALL_RANKS(world(), values(layer, "moving_mean") == all.mean);
      }
}

TEST_CASE("TensorFlow's fused kernel stores the unbiased variance, its other ones the biased") {
  const Shape images{2, 4, 4, num_channels};
  for (const Shape& shape : {images, Shape{2, num_channels}}) {
    BatchNormalization layer = built({.moving_variance = MovingVariance::as_tensorflow}, shape);
    layer.replace_moving_statistics(population());
    const double factor = shape.rank() == 4 ? 5.0 / 4.0 : 1.0;
    REQUIRE_ON_ALL_RANKS(world(),
                         values(layer, "moving_variance") ==
                             mapped(population().variance, [&](double v) { return factor * v; }));
  }
}

TEST_CASE("the statistics of renorm are those of the population") {
  BatchNormalization layer = built({.renorm = true});
  train(layer, 1);
  layer.replace_moving_statistics(population());
  const std::vector<double> stddev =
      mapped(population().variance, [](double v) { return std::sqrt(v + epsilon); });
  REQUIRE_ON_ALL_RANKS(world(), values(layer, "renorm_mean") == population().mean);
  REQUIRE_ON_ALL_RANKS(world(), values(layer, "renorm_stddev") == stddev);
  REQUIRE_ON_ALL_RANKS(world(), values(layer, "moving_stddev") == stddev);
  REQUIRE_ON_ALL_RANKS(world(), values(layer, "moving_variance") ==
                                    mapped(stddev, [](double s) { return s * s - epsilon; }));
}

TEST_CASE("updates go on from the population as from what so many updates have led to") {
  for (const BatchNormalizationOptions& options : variants())
    for (const int num_steps : {0, 1, 3}) {
      BatchNormalization layer = built(options);
      for (int step = 0; step < num_steps; ++step) train(layer, 20);
      layer.replace_moving_statistics(population());
      const auto tape = layer.make_tape();
      output_of(layer, random_tensor({6, num_channels}, 21),
                {.mode = Mode::training, .tape = tape.get()});
      const auto batch = dynamic_cast<const BatchNormalizationTape&>(*tape).batch_mean();
      // The weight of what was there: m, (t - 1) / t, m (1 - m^(t - 1)) / (1 - m^t).
      const double t = std::max(num_steps, 1) + 1.0;
      const double m = options.momentum.value_or((t - 1.0) / t);
      const double weight = options.zero_debias_moving_mean
                                ? m * (1.0 - std::pow(m, t - 1.0)) / (1.0 - std::pow(m, t))
                                : m;
      std::vector<double> expected = population().mean;
      for (std::size_t c = 0; c < num_channels; ++c)
        expected[c] = weight * expected[c] + (1.0 - weight) * batch[c];
      INFO("momentum " << m << ", " << num_steps << " steps");
      REQUIRE_ON_ALL_RANKS(world(), distance(values(layer, "moving_mean"), expected) < 1e-14);
    }
}

TEST_CASE("channels of which the population has nothing keep their statistics") {
  for (const BatchNormalizationOptions& options : variants()) {
    BatchNormalization layer = built(options);
    train(layer, 7);
    const std::vector<double> before = values_of(layer.variables());
    const std::vector<double> mean = values(layer, "moving_mean");
    layer.replace_moving_statistics({"bn", {0.0, 5.0, 0.0}, {9.0, -2.0, 9.0}, {9.0, 4.0, 9.0}});
    REQUIRE_ON_ALL_RANKS(
        world(), values(layer, "moving_mean") == (std::vector<double>{mean[0], -2.0, mean[2]}));
    BatchNormalization other = built(options);
    train(other, 7);
    other.replace_moving_statistics({"bn", {0.0, 0.0, 0.0}, {9.0, 9.0, 9.0}, {9.0, 9.0, 9.0}});
    REQUIRE_ON_ALL_RANKS(world(), values_of(other.variables()) == before);
  }
}

TEST_CASE("impossible populations are refused by all ranks, and not a bit changes") {
  struct Case {
    LayerPopulation population;
    ErrorCode code;
    const char* text;
  };
  const double nan_value = std::nan("");
  const std::vector<double> ones(num_channels, 1.0);
  const std::vector<Case> cases{
      {{"bn", {1.0}, {1.0}, {1.0}}, ErrorCode::argument, "expected 3 counts"},
      {{"bn", ones, ones, {1.0, 1.0}}, ErrorCode::argument, "expected 3 variances"},
      {{"bn", ones, ones, {1.0, -1.0, 1.0}}, ErrorCode::argument, "in channel 1"},
      {{"bn", {1.0, 1.0, -1.0}, ones, ones}, ErrorCode::argument, "in channel 2"},
      {{"bn", ones, ones, {nan_value, 1.0, 1.0}}, ErrorCode::argument, "in channel 0"},
      {{"bn", ones, {1.0, 1.0, 1e300}, ones}, ErrorCode::non_finite, "channel 2"},
      {{"bn", ones, ones, {1.0, 1e39, 1.0}}, ErrorCode::non_finite, "channel 1"}};
  const int guilty = world().size() - 1;
  for (const auto& [bad, code, text] : cases) {
    BatchNormalization layer = built({.dtype = DType::float32});
    const Tensor before = Tensor::copy_of(layer.moving_mean().value());
    const Caught caught = caught_from([&] {
      const LayerPopulation good{"bn", ones, ones, ones};
      layer.replace_moving_statistics(world().rank() == guilty ? bad : good);
    });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world(), caught.is(code) && caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find(text) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world(),
                         is_identical(Tensor::copy_of(layer.moving_mean().value()), before));
  }
}

TEST_CASE("under warn, statistics that are not finite are taken over") {
  BatchNormalization layer = built({.nonfinite = Nonfinite::warn});
  LayerPopulation spoiled = population();
  spoiled.mean[1] = spoiled.variance[1] = std::nan("");
  layer.replace_moving_statistics(spoiled);
  REQUIRE_ON_ALL_RANKS(world(), std::isnan(values(layer, "moving_variance")[1]));
  REQUIRE_ON_ALL_RANKS(world(), values(layer, "moving_mean")[2] == 1e3);
}

TEST_CASE("ranks that replace by different populations are told so, and not a bit changes") {
  if (world().is_solo()) return;
  BatchNormalization layer = built({});
  const std::vector<double> before = values_of(layer.variables());
  LayerPopulation mine = population();
  if (world().rank() == 1) mine.mean[0] = std::nextafter(mine.mean[0], 2.0);
  const Caught caught = caught_from([&] { layer.replace_moving_statistics(mine); });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), values_of(layer.variables()) == before);
}

TEST_CASE("a layer without moving statistics, or without variables, has nothing to replace") {
  BatchNormalization untracked = built({.track_moving_statistics = false});
  CHECK(caught_from([&] {
          untracked.replace_moving_statistics(population());
        }).is(ErrorCode::argument));
  BatchNormalization unbuilt;
  CHECK(caught_from([&] { unbuilt.replace_moving_statistics(population()); }).is(ErrorCode::state));
}
