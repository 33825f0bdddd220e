#include "bench/reference.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "lockstep/comm/collectives.hpp"

namespace ls = lockstep;

namespace {

double output_tolerance_of(ls::DType dtype) {
  switch (dtype) {
    case ls::DType::float64:
      return 1e-12;
    case ls::DType::float16:
      return 0x1p-11;
    case ls::DType::bfloat16:
      return 0x1p-8;
    default:
      return 1e-5;
  }
}

// NaN is wrong too.
bool is_off(double found, double expected, double margin) {
  return !(std::abs(found - expected) <= margin);
}

bool is_wrong(double found, double expected, double tolerance, double slack = 0.0) {
  return is_off(found, expected, tolerance * (1.0 + std::abs(expected)) + slack);
}

}  // namespace

double gamma_of(std::int64_t channel) noexcept {
  return 0.5 + 0.25 * static_cast<double>(channel % 5);
}
double beta_of(std::int64_t channel) noexcept {
  return 0.125 * static_cast<double>(channel % 3 - 1);
}

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

template <class Body>
void Reference::for_each_element(const Body& body) const {
  const Workload& workload = problem_.workload;
  const std::int64_t stride = workload.channel_stride();
  const auto num_channels = static_cast<std::size_t>(workload.num_channels());
  std::size_t channel = 0;
  for (std::int64_t first = 0; first < workload.num_elements(); first += stride) {
    for (std::int64_t i = first; i < first + stride; ++i) body(i, channel);
    channel = channel + 1 == num_channels ? 0 : channel + 1;
  }
}

Reference::Reference(const Problem& problem)
    : problem_(problem),
      output_tolerance_(output_tolerance_of(problem.workload.dtype)),
      sum_tolerance_(problem.workload.dtype == ls::DType::float64 ? 1e-12 : 1e-6),
      kink_tolerance_(problem.workload.dtype == ls::DType::float64 ? 1e-12 : 1e-5),
      mean_(static_cast<std::size_t>(problem.workload.num_channels())),
      variance_(mean_.size()),
      inverse_stddev_(mean_.size()) {
  const ls::TensorView& x = problem_.buffers->x.view();
  std::vector<double> count{
      static_cast<double>(problem_.workload.num_elements() / problem_.workload.num_channels())};
  ls::allreduce(*problem_.group, count, ls::Reduction::sum);
  count_ = count[0];
  for_each_element([&](std::int64_t i, std::size_t c) { mean_[c] += element_of(x, i); });
  ls::allreduce(*problem_.group, mean_, ls::Reduction::sum);
  for (double& mean : mean_) mean /= count_;
  for_each_element([&](std::int64_t i, std::size_t c) {
    const double deviation = element_of(x, i) - mean_[c];
    variance_[c] += deviation * deviation;
  });
  ls::allreduce(*problem_.group, variance_, ls::Reduction::sum);
  for (double& variance : variance_) variance /= count_;
  std::ranges::transform(variance_, inverse_stddev_.begin(), [&](double variance) {
    return 1.0 / std::sqrt(variance + problem_.epsilon);
  });
}

double Reference::normalized(std::int64_t index, std::size_t channel) const {
  return (element_of(problem_.buffers->x.view(), index) - mean_[channel]) *
         inverse_stddev_[channel];
}

double Reference::before_activation(std::int64_t index, std::size_t channel) const {
  const auto c = static_cast<std::int64_t>(channel);
  const double value = normalized(index, channel) * gamma_of(c) + beta_of(c);
  return problem_.has_residual ? value + element_of(problem_.buffers->residual.view(), index)
                               : value;
}

bool Reference::is_near_kink(double before_activation) const {
  return problem_.has_relu && std::abs(before_activation) <= kink_tolerance_;
}

double Reference::gradient_behind(std::int64_t index, double before_activation) const {
  const double gradient = element_of(problem_.buffers->dy.view(), index);
  return problem_.has_relu && before_activation <= 0.0 ? 0.0 : gradient;
}

std::int64_t Reference::num_wrong_outputs() const {
  std::int64_t num_wrong = 0;
  for_each_element([&](std::int64_t i, std::size_t c) {
    const double value = before_activation(i, c);
    const double expected = problem_.has_relu ? std::max(value, 0.0) : value;
    num_wrong += is_wrong(element_of(problem_.buffers->y.view(), i), expected, output_tolerance_);
  });
  return num_wrong;
}

std::int64_t Reference::num_wrong_inference(const ls::TensorView& moving_mean,
                                            const ls::TensorView& moving_variance) const {
  std::vector<double> mean(mean_.size()), factor(mean_.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    const auto channel = static_cast<std::int64_t>(c);
    mean[c] = element_of(moving_mean, channel);
    factor[c] =
        gamma_of(channel) / std::sqrt(element_of(moving_variance, channel) + problem_.epsilon);
  }
  std::int64_t num_wrong = 0;
  for_each_element([&](std::int64_t i, std::size_t c) {
    const double expected = (element_of(problem_.buffers->x.view(), i) - mean[c]) * factor[c] +
                            beta_of(static_cast<std::int64_t>(c));
    num_wrong += is_wrong(element_of(problem_.buffers->y.view(), i), expected, output_tolerance_);
  });
  return num_wrong;
}

std::int64_t Reference::num_wrong_moving(const ls::TensorView& moving_mean,
                                         const ls::TensorView& moving_variance) const {
  const double weight = 1.0 - problem_.momentum;
  std::int64_t num_wrong = 0;
  for (std::size_t c = 0; c < mean_.size(); ++c) {
    const auto channel = static_cast<std::int64_t>(c);
    const double mean = weight * mean_[c];
    const double variance = problem_.momentum + weight * variance_[c];
    num_wrong += is_wrong(element_of(moving_mean, channel), mean, sum_tolerance_);
    num_wrong += is_wrong(element_of(moving_variance, channel), variance, sum_tolerance_);
  }
  return num_wrong;
}

Reference::GradientSums Reference::gradient_sums() const {
  GradientSums sums(mean_.size());
  for_each_element([&](std::int64_t i, std::size_t c) {
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
    num_wrong += is_wrong(
        element_of(gamma_gradient, channel), sums.normalized()[c],
        sum_tolerance_ * (1.0 + sums.normalized_magnitude()[c]) + sums.normalized_slack()[c]);
  }
  for_each_element([&](std::int64_t i, std::size_t c) {
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
