#include "layers/system_reference.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/variables.hpp"

namespace lockstep::testing {
namespace {

using Values = std::vector<double>;

struct Reference {
  System system;
  Shape shape;
  Values moving_mean = Values(num_channels(), 0.0);
  Values moving_variance = Values(num_channels(), 1.0);

  [[nodiscard]] std::size_t num_channels() const {
    return static_cast<std::size_t>(shape[system.channel_axis]);
  }

  [[nodiscard]] std::size_t channel_of(std::size_t element) const {
    std::size_t inner = 1;
    for (int axis = system.channel_axis + 1; axis < shape.rank(); ++axis)
      inner *= static_cast<std::size_t>(shape[axis]);
    return element / inner % num_channels();
  }

  [[nodiscard]] Values normalized(std::span<const double> x, const Values& mean,
                                  const Values& variance) const {
    Values y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t c = channel_of(i);
      y[i] = (x[i] - mean[c]) / std::sqrt(variance[c] + system.epsilon);
    }
    return y;
  }

  Values train(std::span<const double> x) {
    const auto n = static_cast<double>(x.size() / num_channels());
    Values mean(num_channels(), 0.0), variance(num_channels(), 0.0);
    for (std::size_t i = 0; i < x.size(); ++i) mean[channel_of(i)] += x[i] / n;
    for (std::size_t i = 0; i < x.size(); ++i)
      variance[channel_of(i)] += std::pow(x[i] - mean[channel_of(i)], 2) / n;
    const double factor = system.is_unbiased ? n / (n - 1.0) : 1.0;
    const auto average = [&](double& moving, double batch) {
      moving = system.old_weight * moving + (1.0 - system.old_weight) * batch;
    };
    for (std::size_t c = 0; c < num_channels(); ++c) {
      average(moving_mean[c], mean[c]);
      average(moving_variance[c], factor * variance[c]);
    }
    return normalized(x, mean, variance);
  }

  [[nodiscard]] Values infer(std::span<const double> x) const {
    return normalized(x, moving_mean, moving_variance);
  }
};

}  // namespace

double deviation_from(const System& system, BatchNormalizationOptions options, const Shape& shape) {
  options.dtype = DType::float64;
  Reference reference{system, shape};
  BatchNormalization layer(std::move(options));
  layer.build(shape, Communicator());
  double worst = 0.0;
  const auto compare = [&](const auto& actual, const Values& expected) {
    worst = std::max(worst, distance(actual, expected));
  };
  for (std::uint64_t step = 1; step <= 3; ++step) {
    const bool is_training = step < 3;
    const Tensor x = random_tensor(shape, step);
    const Tensor y = output_of(layer, x, {.mode = is_training ? Mode::training : Mode::inference});
    layer.apply_updates();
    compare(y.values<double>(), is_training ? reference.train(x.values<double>())
                                            : reference.infer(x.values<double>()));
    compare(values_of(layer.moving_mean()), reference.moving_mean);
    compare(values_of(layer.moving_variance()), reference.moving_variance);
  }
  return worst;
}

}  // namespace lockstep::testing
