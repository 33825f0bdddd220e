#include "bench/reference.hpp"

#include <algorithm>
#include <cmath>

#include "bench/deviation.hpp"
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

}  // namespace

double gamma_of(std::int64_t channel) noexcept {
  return 0.5 + 0.25 * static_cast<double>(channel % 5);
}
double beta_of(std::int64_t channel) noexcept {
  return 0.125 * static_cast<double>(channel % 3 - 1);
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
  for_each_element(problem_.workload,
                   [&](std::int64_t i, std::size_t c) { mean_[c] += element_of(x, i); });
  ls::allreduce(*problem_.group, mean_, ls::Reduction::sum);
  for (double& mean : mean_) mean /= count_;
  for_each_element(problem_.workload, [&](std::int64_t i, std::size_t c) {
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
  for_each_element(problem_.workload, [&](std::int64_t i, std::size_t c) {
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
  for_each_element(problem_.workload, [&](std::int64_t i, std::size_t c) {
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
