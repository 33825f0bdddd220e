// Statistics of a data set do not depend on batches and ranks, and measuring them changes nothing.

#include "lockstep/train/population_statistics.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/train/trainer.hpp"
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

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& world() { return strategy().replicas(); }

// Samples whose level drifts, so that batches and shards have means of their own.
Tensor drifting(const Shape& shape) {
  Tensor samples = random_tensor(shape, 4);
  const auto values = samples.values<double>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 2.0 + 0.01 * static_cast<double>(i);
  return samples;
}

ArrayDataset data_of(const Tensor& samples) {
  return {samples, Tensor({samples.shape()[0]}, DType::int64), 2};
}

Sequential mlp(const Strategy& replicas, const BatchNormalizationOptions& options) {
  Sequential model({.dtype = DType::float64, .seed = 3}, replicas);
  model.add(Dense({.units = 5}));
  model.add(BatchNormalization(options));
  model.add(Activation({.function = ActivationFunction::tanh}));
  model.add(Dropout({.rate = 0.3}));
  model.add(Dense({.units = 4}));
  model.add(BatchNormalization(options));
  model.add(Dense({.units = 2}));
  model.build({1, 3});
  return model;
}

Sequential alone(const Strategy& replicas, const BatchNormalizationOptions& options,
                 const Shape& sample_shape) {
  Sequential model({.dtype = DType::float64}, replicas);
  model.add(BatchNormalization(options)).add(Flatten()).add(Dense({.units = 2}));
  model.build(sample_shape.prepended(1));
  return model;
}

std::vector<double> numbers_of(const PopulationStatistics& statistics) {
  std::vector<double> all;
  for (const LayerPopulation& each : statistics)
    for (const auto* values : {&each.count, &each.mean, &each.variance})
      all.insert(all.end(), values->begin(), values->end());
  return all;
}

bool is_same_everywhere(const PopulationStatistics& statistics) {
  const std::vector<double> all = numbers_of(statistics);
  return is_same_on_all_ranks(world(), std::as_bytes(std::span(all)));
}

std::vector<BatchNormalizationOptions> groupings() {
  return {{.synchronized = true},
          {.synchronized = false},
          {.synchronized = true, .synchronization_group = BySize{2}}};
}

}  // namespace

TEST_CASE("what the first layer sees is the data set, for any batches, ranks and groups") {
  const Tensor samples = drifting({37, 3});
  const ArrayDataset data = data_of(samples);
  const ChannelMoments expected = moments_of(samples.values<double>(), 3);
  for (const BatchNormalizationOptions& options : groupings()) {
    Sequential model = alone(strategy(), options, {3});
    for (const std::int64_t batch_size : {1, 2, 5, 12, 36, 37, 100}) {
      const PopulationStatistics found =
          population_statistics(model, data, {.batch_size = batch_size});
      INFO("batches of " << batch_size);
      REQUIRE_ON_ALL_RANKS(world(), found.size() == 1 && found[0].layer == "batch_normalization");
      REQUIRE_ON_ALL_RANKS(world(), found[0].count == expected.count);
      REQUIRE_ON_ALL_RANKS(world(), distance(found[0].mean, expected.mean) < 1e-14);
      REQUIRE_ON_ALL_RANKS(world(), distance(found[0].variance, expected.variance) < 1e-13);
      REQUIRE_ON_ALL_RANKS(world(), is_same_everywhere(found));
    }
  }
}

TEST_CASE("images are measured over all positions") {
  const Tensor samples = drifting({9, 4, 3, 2});
  const ChannelMoments expected = moments_of(samples.values<double>(), 2);
  Sequential model = alone(strategy(), {.synchronized = true}, {4, 3, 2});
  const PopulationStatistics found =
      population_statistics(model, data_of(samples), {.batch_size = 4});
  REQUIRE_ON_ALL_RANKS(world(), found[0].count == expected.count);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[0].mean, expected.mean) < 1e-14);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[0].variance, expected.variance) < 1e-13);
}

TEST_CASE("synchronized layers see the same on any number of ranks, the last batch included") {
  const ArrayDataset data = data_of(drifting({37, 3}));
  for (const std::int64_t batch_size : {5, 12, 37}) {
    Sequential together = mlp(strategy(), {.synchronized = true});
    Sequential single = mlp(Strategy(), {.synchronized = true});
    const PopulationOptions options{.batch_size = batch_size};
    const PopulationStatistics found = population_statistics(together, data, options);
    const PopulationStatistics expected = population_statistics(single, data, options);
    REQUIRE_ON_ALL_RANKS(world(), found.size() == 2);
    REQUIRE_ON_ALL_RANKS(world(), found[1].layer == "batch_normalization_1");
    for (const std::size_t layer : {0U, 1U}) {
      REQUIRE_ON_ALL_RANKS(world(), found[layer].count == expected[layer].count);
      REQUIRE_ON_ALL_RANKS(world(), distance(found[layer].mean, expected[layer].mean) < 1e-12);
      REQUIRE_ON_ALL_RANKS(world(),
                           distance(found[layer].variance, expected[layer].variance) < 1e-12);
    }
    REQUIRE_ON_ALL_RANKS(world(), is_same_everywhere(found));
  }
}

TEST_CASE("later layers see what earlier ones make of it by batch statistics") {
  const Tensor samples = drifting({37, 3});
  Sequential model = mlp(strategy(), {.synchronized = true});
  const PopulationStatistics found = population_statistics(model, data_of(samples));
  replace_moving_statistics(model, found);
  // One batch was the population, so inference shows the second layer what that batch did.
  TensorView activation = samples;
  std::vector<Tensor> outputs;
  for (const std::size_t i : {0U, 1U, 2U, 3U, 4U}) {
    outputs.push_back(
        output_of(*model.layers()[i], Tensor::copy_of(activation), {.mode = Mode::inference}));
    activation = outputs.back();
  }
  const ChannelMoments expected = moments_of(activation.values<double>(), 4);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[1].mean, expected.mean) < 1e-12);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[1].variance, expected.variance) < 1e-12);
}

TEST_CASE("not a bit of the model changes, and training goes on as without it") {
  const ArrayDataset data = data_of(drifting({10, 3}));
  for (BatchNormalizationOptions options : groupings())
    for (const bool renorm : {false, true}) {
      options.renorm = renorm;
      const auto trained = [&](bool is_measured) {
        Sequential model = mlp(strategy(), options);
        Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy());
        const auto measure = [&] {
          if (!is_measured) return;
          const std::vector<double> before = values_of(model.variables());
          static_cast<void>(population_statistics(model, data, {.batch_size = 4}));
          REQUIRE_ON_ALL_RANKS(world(), values_of(model.variables()) == before);
        };
        measure();
        for (int epoch = 0; epoch < 2; ++epoch) {
          trainer.fit(data, {.batch_size = 5});
          measure();
        }
        return values_of(model.variables());
      };
      const bool is_equal = trained(true) == trained(false);
      REQUIRE_ON_ALL_RANKS(world(), is_equal);
    }
}

TEST_CASE("a recorded call is forgotten, so that nothing of the pass can be committed") {
  const Tensor samples = drifting({10, 3});
  Sequential model = mlp(strategy(), {.synchronized = true});
  model.forward(samples, {.mode = Mode::training, .commit = Commit::by_caller});
  const std::vector<double> before = values_of(model.variables());
  static_cast<void>(population_statistics(model, data_of(samples)));
  model.commit();
  REQUIRE_ON_ALL_RANKS(world(), values_of(model.variables()) == before);
  const Tensor gradient({10, 2}, DType::float64);
  REQUIRE_ON_ALL_RANKS(world(),
                       caught_from([&] { model.backward(gradient); }).is(ErrorCode::state));
}

TEST_CASE("synchronized layers send what a training step's forward sends, and little besides") {
  if (world().is_solo()) return;
  const ArrayDataset data = data_of(drifting({20, 3}));
  Sequential model = mlp(strategy(), {.synchronized = true});
  model.forward(data.inputs(), {.mode = Mode::training});  // the centers are near the means
  std::vector<std::int64_t> messages;
  for (const std::int64_t batch_size : {20, 10, 5}) {
    const std::int64_t before = num_collectives();
    static_cast<void>(population_statistics(model, data, {.batch_size = batch_size}));
    messages.push_back(num_collectives() - before);
  }
  // Three agreements, and a merge of each of the two layers for each of 1, 2 and 4 batches.
  REQUIRE_ON_ALL_RANKS(world(), messages == (std::vector<std::int64_t>{5, 7, 11}));
}

TEST_CASE("a remainder can be left out, and no samples are no statistics") {
  const Tensor samples = drifting({10, 3});
  Sequential model = alone(strategy(), {.synchronized = true}, {3});
  const PopulationStatistics most =
      population_statistics(model, data_of(samples), {.batch_size = 4, .drop_remainder = true});
  const ChannelMoments expected = moments_of(rows_of(samples, 0, 8).values<double>(), 3);
  REQUIRE_ON_ALL_RANKS(world(), most[0].count == expected.count);
  REQUIRE_ON_ALL_RANKS(world(), distance(most[0].mean, expected.mean) < 1e-14);

  const PopulationStatistics none =
      population_statistics(model, data_of(Tensor({0, 3}, DType::float64)));
  const std::vector<double> before = values_of(model.variables());
  replace_moving_statistics(model, none);
  REQUIRE_ON_ALL_RANKS(world(), none.size() == 1 && none[0].count == std::vector<double>(3));
  REQUIRE_ON_ALL_RANKS(world(), values_of(model.variables()) == before);
}

TEST_CASE("ghost batches of the whole data set are measured by element") {
  const Tensor samples = drifting({24 * world().size(), 3});
  const ChannelMoments expected = moments_of(samples.values<double>(), 3);
  Sequential model = alone(strategy(), {.virtual_batch_size = 3, .synchronized = true}, {3});
  const PopulationStatistics found =
      population_statistics(model, data_of(samples), {.batch_size = 6 * world().size()});
  REQUIRE_ON_ALL_RANKS(world(), found[0].count == expected.count);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[0].mean, expected.mean) < 1e-13);
  REQUIRE_ON_ALL_RANKS(world(), distance(found[0].variance, expected.variance) < 1e-13);
}

TEST_CASE("the callback replaces the moving statistics at the end of every epoch") {
  const Tensor samples = drifting({20, 3});
  const ArrayDataset data = data_of(samples);
  const ChannelMoments expected = moments_of(samples.values<double>(), 3);
  Sequential model = alone(strategy(), {.synchronized = true}, {3});
  Trainer trainer(model, Sgd(), SparseCategoricalCrossentropy());
  trainer.fit(
      data,
      {.epochs = 2, .batch_size = 8, .callbacks = {std::make_shared<PreciseStatistics>(data)}});
  const std::vector<double> mean = values_of(model.variable("batch_normalization/moving_mean"));
  const std::vector<double> variance =
      values_of(model.variable("batch_normalization/moving_variance"));
  REQUIRE_ON_ALL_RANKS(world(), distance(mean, expected.mean) < 1e-14);
  REQUIRE_ON_ALL_RANKS(world(), distance(variance, expected.variance) < 1e-13);
}
