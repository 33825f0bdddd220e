#include "lockstep/train/synthetic.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/random.hpp"
#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

constexpr double two_pi = 2.0 * std::numbers::pi;

void require(bool holds, std::string_view expected, double got) {
  if (!holds) throw ArgumentError(fmt::format("synthetic data need {}, got {}", expected, got));
}

void require_positive(std::string_view name, std::int64_t value) {
  require(value > 0, fmt::format("a positive {}", name), static_cast<double>(value));
}

void require_deviation(std::string_view name, double value) {
  require(value >= 0.0 && std::isfinite(value), fmt::format("a finite {} >= 0", name), value);
}

template <class Options>
RandomKey key_of(const Options& options, std::string_view purpose) {
  return RandomKey(options.seed).with(purpose);
}

template <class Options>
RandomKey split_key_of(const Options& options, std::string_view purpose) {
  return key_of(options, purpose).with(static_cast<std::uint64_t>(options.split));
}

// The value at `position` of a random permutation of 0 .. size - 1, known without the others: the
// rank of the position's random number among all.
std::int64_t permuted(const RandomKey& key, std::int64_t position, std::int64_t size) {
  const std::uint64_t own = key.bits(static_cast<std::uint64_t>(position));
  std::int64_t rank = 0;
  for (std::int64_t other = 0; other < size; ++other) {
    const std::uint64_t bits = key.bits(static_cast<std::uint64_t>(other));
    if (bits < own || (bits == own && other < position)) ++rank;
  }
  return rank;
}

// Labels are permutations, one for every num_classes samples.
template <class Options>
std::int64_t label_of(const Options& options, std::int64_t index) {
  const RandomKey block = split_key_of(options, "labels").with(index / options.num_classes);
  return permuted(block, index % options.num_classes, options.num_classes);
}

// Reads samples whose values `generate(key, label, values)` computes from the sample's own key.
template <class Options, class Generate>
void read_generated(const Options& options, std::span<const std::int64_t> indices,
                    const MutableTensorView& inputs, const MutableTensorView& targets,
                    Generate&& generate) {
  std::vector<double> values(
      static_cast<std::size_t>(inputs.shape().without_first().num_elements()));
  visit_floating(inputs.dtype(), [&]<class T>(TypeTag<T>) {
    T* input = inputs.values<T>().data();
    std::int64_t* target = targets.values<std::int64_t>().data();
    for (const std::int64_t index : indices) {
      const std::int64_t label = label_of(options, index);
      generate(split_key_of(options, "sample").with(index), label, std::span<double>(values));
      input = std::transform(values.begin(), values.end(), input,
                             [](double value) { return static_cast<T>(value); });
      *target++ = label;
    }
  });
}

// Waves under a Gaussian window (Gabor 1946, Theory of communication), in pixels and radians.
struct Patch {
  double row, column;            // of the window's centre
  double window;                 // standard deviation of the Gaussian
  double row_wave, column_wave;  // phase per pixel
  double phase;

  [[nodiscard]] double at(std::int64_t r, std::int64_t c, std::int64_t channel) const {
    const double y = static_cast<double>(r) - row;
    const double x = static_cast<double>(c) - column;
    const double shift = 0.25 * two_pi * static_cast<double>(channel);
    return std::exp(-(x * x + y * y) / (2.0 * window * window)) *
           std::cos(y * row_wave + x * column_wave + phase + shift);
  }
};

Patch patch_of(const SyntheticImagesOptions& options, const RandomKey& sample, std::int64_t label) {
  const auto height = static_cast<double>(options.shape[0]);
  const auto width = static_cast<double>(options.shape[1]);
  const RandomKey task = key_of(options, "patches");
  const std::int64_t kind = permuted(task, label, options.num_classes);
  const auto k = static_cast<double>(kind);
  // Steps of the golden ratio put kinds of similar direction at places far apart.
  const double place = two_pi * (task.with("place").uniform(0) + k / std::numbers::phi);
  const double direction = std::numbers::pi * (task.with("direction").uniform(0) +
                                               k / static_cast<double>(options.num_classes));
  const double wave = two_pi / (kind % 2 == 0 ? 3.0 : 5.0);
  const RandomKey jitter = sample.with("jitter");
  return {.row = height * (0.5 + 0.25 * std::sin(place) + jitter.normal(0) / 24.0) - 0.5,
          .column = width * (0.5 + 0.25 * std::cos(place) + jitter.normal(1) / 24.0) - 0.5,
          .window = std::max(1.0, std::min(height, width) / 5.0),
          .row_wave = wave * std::sin(direction),
          .column_wave = wave * std::cos(direction),
          .phase = two_pi * sample.with("phase").uniform(0)};
}

}  // namespace

SyntheticBlobs::SyntheticBlobs(const SyntheticBlobsOptions& options) : options_(options) {
  require(options.num_samples >= 0, "num_samples >= 0", static_cast<double>(options.num_samples));
  require_positive("num_classes", options.num_classes);
  require_positive("num_features", options.num_features);
  require_deviation("spread", options.spread);
  const Shape shape{options.num_classes, options.num_features};
  if (!shape.is_valid())
    throw ArgumentError(fmt::format("centres of shape {} are too many", to_string(shape)));
  centres_.resize(static_cast<std::size_t>(shape.num_elements()));
  const RandomKey key = key_of(options, "centres");
  for (std::size_t i = 0; i < centres_.size(); ++i) centres_[i] = key.normal(i);
}

void SyntheticBlobs::do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
                             const MutableTensorView& targets) const {
  read_generated(options_, indices, inputs, targets,
                 [&](const RandomKey& key, std::int64_t label, std::span<double> values) {
                   const double* centre = centres_.data() + label * options_.num_features;
                   for (std::size_t i = 0; i < values.size(); ++i)
                     values[i] = centre[i] + options_.spread * key.normal(i);
                 });
}

SyntheticImages::SyntheticImages(const SyntheticImagesOptions& options) : options_(options) {
  require(options.num_samples >= 0, "num_samples >= 0", static_cast<double>(options.num_samples));
  require_positive("num_classes", options.num_classes);
  require_deviation("noise", options.noise);
  const Shape& shape = options.shape;
  if (shape.rank() != 3 || !shape.is_valid() || shape.num_elements() == 0)
    throw ArgumentError(fmt::format(
        "synthetic images need a shape of height, width and channels, all positive; got {}",
        to_string(shape)));
}

void SyntheticImages::do_read(std::span<const std::int64_t> indices,
                              const MutableTensorView& inputs,
                              const MutableTensorView& targets) const {
  const Shape& shape = options_.shape;
  read_generated(options_, indices, inputs, targets,
                 [&](const RandomKey& key, std::int64_t label, std::span<double> values) {
                   const Patch patch = patch_of(options_, key, label);
                   const RandomKey noise = key.with("noise");
                   std::size_t i = 0;
                   for (std::int64_t row = 0; row < shape[0]; ++row)
                     for (std::int64_t column = 0; column < shape[1]; ++column)
                       for (std::int64_t channel = 0; channel < shape[2]; ++channel, ++i)
                         values[i] =
                             patch.at(row, column, channel) + options_.noise * noise.normal(i);
                 });
}

}  // namespace lockstep
