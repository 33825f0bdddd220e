#include <cmath>
#include <span>

#include "bench/deviation.hpp"
#include "bench/reference.hpp"
#include "lockstep/comm/collectives.hpp"

namespace ls = lockstep;

// With G = dL/dy behind the activation. The slack is what undecided branches of relu may change.
struct Reference::GradientSums {
  explicit GradientSums(std::size_t num_channels) : length(num_channels), values(6 * length) {}

  std::span<double> part(std::size_t i) { return std::span(values).subspan(i * length, length); }
  std::span<double> output() { return part(0); }      // sum of G
  std::span<double> normalized() { return part(1); }  // sum of G xhat
  std::span<double> output_magnitude() { return part(2); }
  std::span<double> normalized_magnitude() { return part(3); }
  std::span<double> output_slack() { return part(4); }
  std::span<double> normalized_slack() { return part(5); }

  std::size_t length;
  std::vector<double> values;
};

Reference::GradientSums Reference::gradient_sums() const {
  GradientSums sums(mean_.size());
  for_each_element(problem_.workload, [&](std::int64_t i, std::size_t c) {
    const double value = before_activation(i, c);
    const double xhat = normalized(i, c);
    const double gradient = gradient_behind(i, value);
    sums.output()[c] += gradient;
    sums.normalized()[c] += gradient * xhat;
    sums.output_magnitude()[c] += std::abs(gradient);
    sums.normalized_magnitude()[c] += std::abs(gradient * xhat);
    if (!is_near_kink(value)) return;
    const double change = std::abs(element_of(problem_.buffers->dy.view(), i));
    sums.output_slack()[c] += change;
    sums.normalized_slack()[c] += change * std::abs(xhat);
  });
  ls::allreduce(*problem_.group, sums.values, ls::Reduction::sum);
  return sums;
}

// dx = gamma rho (G - sum(G) / W - xhat sum(G xhat) / W): Ioffe and Szegedy 2015, section 3.
std::int64_t Reference::num_wrong_gradients(const ls::TensorView& gamma_gradient,
                                            const ls::TensorView& beta_gradient) const {
  GradientSums sums = gradient_sums();
  std::int64_t num_wrong = 0;
  for (std::size_t c = 0; c < mean_.size(); ++c) {
    const auto channel = static_cast<std::int64_t>(c);
    num_wrong +=
        is_off(element_of(beta_gradient, channel), sums.output()[c],
               sum_tolerance_ * (1.0 + sums.output_magnitude()[c]) + sums.output_slack()[c]);
    num_wrong += is_off(
        element_of(gamma_gradient, channel), sums.normalized()[c],
        sum_tolerance_ * (1.0 + sums.normalized_magnitude()[c]) + sums.normalized_slack()[c]);
  }
  for_each_element(problem_.workload, [&](std::int64_t i, std::size_t c) {
    const double value = before_activation(i, c);
    if (is_near_kink(value)) return;
    const double xhat = normalized(i, c);
    const double gradient = gradient_behind(i, value);
    const double factor = gamma_of(static_cast<std::int64_t>(c)) * inverse_stddev_[c];
    const double expected =
        factor * (gradient - (sums.output()[c] + xhat * sums.normalized()[c]) / count_);
    const double slack =
        factor * (sums.output_slack()[c] + std::abs(xhat) * sums.normalized_slack()[c]) / count_;
    num_wrong +=
        is_wrong(element_of(problem_.buffers->dx.view(), i), expected, output_tolerance_, slack);
    if (problem_.has_residual)
      num_wrong += is_wrong(element_of(problem_.buffers->y.view(), i), gradient, output_tolerance_);
  });
  return num_wrong;
}
