// Synthetic samples are functions of seed and index, balanced, learnable and told apart by split.

#include "lockstep/train/synthetic.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

struct Samples {
  Tensor inputs;
  Tensor labels;
};

Samples read(const Dataset& data, const std::vector<std::int64_t>& indices,
             DType dtype = DType::float64) {
  const auto count = static_cast<std::int64_t>(indices.size());
  Samples samples{Tensor(data.input_shape().prepended(count), dtype),
                  Tensor(Shape{count}, DType::int64)};
  data.read(indices, samples.inputs, samples.labels);
  return samples;
}

std::vector<std::int64_t> range(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), first);
  return result;
}

template <class T>
bool equal(std::span<const T> a, std::span<const T> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::span<const double> sample(const Samples& samples, std::size_t i) {
  const TensorView values = samples.inputs;
  return values.rows(static_cast<std::int64_t>(i), 1).values<double>();
}

struct Task {
  std::uint64_t seed = 1;
  Split split = Split::training;
  std::int64_t num_samples = 400;
};

using MakeDataset = std::function<std::unique_ptr<Dataset>(const Task&)>;

std::unique_ptr<Dataset> blobs(const Task& task) {
  return std::make_unique<SyntheticBlobs>(SyntheticBlobsOptions{.num_samples = task.num_samples,
                                                                .num_classes = 5,
                                                                .num_features = 12,
                                                                .seed = task.seed,
                                                                .split = task.split});
}

std::unique_ptr<Dataset> images(const Task& task) {
  return std::make_unique<SyntheticImages>(SyntheticImagesOptions{.num_samples = task.num_samples,
                                                                  .num_classes = 5,
                                                                  .shape = {12, 14, 2},
                                                                  .noise = 0.1,
                                                                  .seed = task.seed,
                                                                  .split = task.split});
}

const MakeDataset both_kinds[] = {blobs, images};

double squared_distance(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](double x, double y) { return (x - y) * (x - y); });
}

}  // namespace

TEST_CASE("a sample does not depend on what it is read with") {
  for (const MakeDataset& make : both_kinds) {
    const auto data = make({});
    const Samples all = read(*data, range(0, 20));
    const Samples some = read(*data, {17, 3, 17, 0});
    const std::vector<std::size_t> expected{17, 3, 17, 0};
    for (std::size_t n = 0; n < expected.size(); ++n) {
      CHECK(equal(sample(some, n), sample(all, expected[n])));
      CHECK(some.labels.values<std::int64_t>()[n] ==
            all.labels.values<std::int64_t>()[expected[n]]);
    }
    // Nor on how many samples there are.
    const Samples fewer = read(*make({.num_samples = 20}), range(0, 20));
    CHECK(equal(fewer.inputs.values<double>(), all.inputs.values<double>()));
  }
}

TEST_CASE("float32 values are the rounded float64 values") {
  for (const MakeDataset& make : both_kinds) {
    const auto data = make({});
    const Samples exact = read(*data, range(0, 10));
    const Samples rounded = read(*data, range(0, 10), DType::float32);
    const auto to_float = [](double value) { return static_cast<float>(value); };
    std::vector<float> expected(exact.inputs.values<double>().size());
    std::transform(exact.inputs.values<double>().begin(), exact.inputs.values<double>().end(),
                   expected.begin(), to_float);
    CHECK(equal<float>(rounded.inputs.values<float>(), expected));
  }
}

TEST_CASE("every stretch of num_classes samples holds each class once") {
  for (const MakeDataset& make : both_kinds) {
    const Samples samples = read(*make({}), range(0, 400));
    const auto labels = samples.labels.values<std::int64_t>();
    std::vector<std::vector<std::int64_t>> blocks;
    for (std::size_t first = 0; first < labels.size(); first += 5) {
      std::vector<std::int64_t> block(labels.begin() + static_cast<std::ptrdiff_t>(first),
                                      labels.begin() + static_cast<std::ptrdiff_t>(first) + 5);
      blocks.push_back(block);
      std::sort(block.begin(), block.end());
      CHECK(block == std::vector<std::int64_t>{0, 1, 2, 3, 4});
    }
    // The orders differ, so that a cut by stride is not one class either.
    std::sort(blocks.begin(), blocks.end());
    CHECK(std::unique(blocks.begin(), blocks.end()) - blocks.begin() > 30);
  }
}

TEST_CASE("seeds and splits give other samples") {
  for (const MakeDataset& make : both_kinds) {
    const Samples one = read(*make({}), range(0, 50));
    const Samples same = read(*make({}), range(0, 50));
    const Samples other_seed = read(*make({.seed = 2}), range(0, 50));
    const Samples other_split = read(*make({.split = Split::validation}), range(0, 50));
    CHECK(equal(one.inputs.values<double>(), same.inputs.values<double>()));
    for (std::size_t i = 0; i < 50; ++i)
      for (std::size_t j = 0; j < 50; ++j) {
        CHECK(squared_distance(sample(one, i), sample(other_seed, j)) > 1e-3);
        CHECK(squared_distance(sample(one, i), sample(other_split, j)) > 1e-3);
      }
  }
}

TEST_CASE("the splits pose one task, another seed poses another") {
  for (const MakeDataset& make : both_kinds) {
    const Samples training = read(*make({}), range(0, 400));
    // Share of samples that have the label of the nearest sample of the training split.
    const auto agreement = [&](const Samples& asked) {
      int num_right = 0;
      for (std::size_t i = 0; i < 100; ++i) {
        double nearest = std::numeric_limits<double>::infinity();
        std::int64_t label = -1;
        for (std::size_t j = 0; j < 400; ++j) {
          const double distance = squared_distance(sample(asked, i), sample(training, j));
          if (distance >= nearest) continue;
          nearest = distance;
          label = training.labels.values<std::int64_t>()[j];
        }
        if (label == asked.labels.values<std::int64_t>()[i]) ++num_right;
      }
      return num_right / 100.0;
    };
    CHECK(agreement(read(*make({.split = Split::validation}), range(0, 100))) > 0.9);
    CHECK(agreement(read(*make({.seed = 3}), range(0, 100))) < 0.8);
  }
}

TEST_CASE("blobs have the asked spread about their centres") {
  const SyntheticBlobs points(
      {.num_samples = 4000, .num_classes = 2, .num_features = 3, .spread = 0.25, .seed = 9});
  const Samples samples = read(points, range(0, 4000));
  const SyntheticBlobs still(
      {.num_samples = 2, .num_classes = 2, .num_features = 3, .spread = 0.0, .seed = 9});
  const Samples centres = read(still, range(0, 2));
  double sum = 0.0;
  for (std::size_t i = 0; i < 4000; ++i) {
    const bool is_first =
        samples.labels.values<std::int64_t>()[i] == centres.labels.values<std::int64_t>()[0];
    sum += squared_distance(sample(samples, i), sample(centres, is_first ? 0 : 1));
  }
  // The variance estimate of 12000 numbers has a relative standard deviation of 1.3 %.
  const double variance = sum / (3.0 * 4000.0);
  CHECK(variance > 0.94 * 0.25 * 0.25);
  CHECK(variance < 1.06 * 0.25 * 0.25);
}

TEST_CASE("impossible synthetic data are refused") {
  CHECK_THROWS_AS(SyntheticBlobs({.num_samples = -1}), ArgumentError);
  CHECK_THROWS_AS(SyntheticBlobs({.num_classes = 0}), ArgumentError);
  CHECK_THROWS_AS(SyntheticBlobs({.num_features = 0}), ArgumentError);
  CHECK_THROWS_AS(SyntheticBlobs({.spread = -1.0}), ArgumentError);
  CHECK_THROWS_AS(SyntheticBlobs({.spread = std::numeric_limits<double>::quiet_NaN()}),
                  ArgumentError);
  CHECK_THROWS_AS(SyntheticImages({.num_classes = -3}), ArgumentError);
  CHECK_THROWS_AS(SyntheticImages({.shape = {8, 8}}), ArgumentError);
  CHECK_THROWS_AS(SyntheticImages({.shape = {8, 0, 1}}), ArgumentError);
  CHECK_THROWS_AS(SyntheticImages({.noise = std::numeric_limits<double>::infinity()}),
                  ArgumentError);
  CHECK(SyntheticImages({.num_samples = 0}).num_samples() == 0);
}
