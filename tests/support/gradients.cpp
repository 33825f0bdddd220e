#include "support/gradients.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.hpp"

namespace lockstep::testing {
namespace {

double loss_of(Layer& layer, const Tensor& input, const Tensor& weights, Call call) {
  const auto tape = layer.make_tape();
  call.tape = tape.get();
  call.commit = Commit::by_caller;  // every evaluation sees the same state
  Tensor output(layer.output_shape(input.shape()), DType::float64);
  layer.forward(input, output, call);
  return inner_product_of(weights, output);
}

// Deviation of `gradient` from differences of `loss` with respect to `values`.
double deviation(std::span<double> values, std::span<const double> gradient,
                 const std::function<double()>& loss) {
  const std::vector<double> differences = differences_of(values, loss);
  double worst = 0.0;
  double scale = 1e-3;
  for (std::size_t i = 0; i < values.size(); ++i) {
    worst = std::max(worst, std::abs(differences[i] - gradient[i]));
    scale = std::max(scale, std::abs(differences[i]));
  }
  return worst / scale;
}

}  // namespace

double gradient_error(Layer& layer, const Tensor& input, Call call) {
  Tensor x = input;
  const Tensor weights = random_tensor(layer.output_shape(x.shape()), 17);
  const auto tape = layer.make_tape();
  call.tape = tape.get();
  call.commit = Commit::by_caller;
  Tensor output(layer.output_shape(x.shape()), DType::float64);
  layer.forward(x, output, call);
  Tensor dx(x.shape(), DType::float64);
  layer.backward(*tape, weights, dx);

  const auto loss = [&] { return loss_of(layer, x, weights, call); };
  double worst = deviation(x.values<double>(), dx.values<double>(), loss);
  for (Variable* variable : layer.variables()) {
    if (!variable->is_trainable()) continue;
    const Tensor gradient = Tensor::copy_of(variable->grad());
    worst = std::max(
        worst, deviation(variable->value().values<double>(), gradient.values<double>(), loss));
  }
  return worst;
}

std::vector<double> differences_of(std::span<double> values, const std::function<double()>& loss) {
  constexpr double step = 1e-5;
  std::vector<double> differences;
  for (double& value : values) {
    const double middle = value;
    value = middle + step;
    const double above = loss();
    value = middle - step;
    const double below = loss();
    value = middle;
    differences.push_back((above - below) / (2.0 * step));
  }
  return differences;
}

double inner_product_of(const Tensor& a, const Tensor& b) {
  const auto left = a.values<double>();
  return std::inner_product(left.begin(), left.end(), b.values<double>().begin(), 0.0);
}

Tensor random_tensor(const Shape& shape, std::uint64_t seed) {
  Tensor result(shape, DType::float64);
  std::uint64_t i = 0;
  for (double& value : result.values<double>()) {
    value = 2.0 * RandomKey(seed).uniform(i++) - 1.0;
    if (std::abs(value) < 0.01) value = 0.01;
  }
  return result;
}

}  // namespace lockstep::testing
