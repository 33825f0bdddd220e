#include "layers/moving_moments.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/convert.hpp"
#include "parallel/merge_moments.hpp"

namespace lockstep {
namespace {

std::size_t num_channels_of(const MovingVariables& variables) noexcept {
  return static_cast<std::size_t>(variables.mean->num_elements());
}

std::size_t num_moments_of(const MovingVariables& variables) noexcept {
  return (variables.stddev != nullptr ? 2 : 1) * num_channels_of(variables);
}

void read_squares(const Variable& stddev, std::span<double> values) noexcept {
  read_as_double(stddev.value(), values);
  for (double& value : values) value *= value;
}

}  // namespace

MovingMoments::MovingMoments(const MovingVariables& variables)
    : variables_(variables),
      num_channels_(num_channels_of(variables)),
      count_(num_moments_of(variables)),
      mean_(count_.size()),
      variance_(count_.size()),
      pool_(count_.size()),
      values_(num_channels_),
      old_values_(num_channels_) {
  read_as_double(variables.num_elements->value(), moving(count_));
  read_as_double(variables.mean->value(), moving(mean_));
  if (variables.stddev == nullptr) {
    read_as_double(variables.variance->value(), moving(variance_));
    return;
  }
  read_squares(*variables.stddev, moving(variance_));
  read_as_double(variables.num_elements->value(), renorm(count_));
  read_as_double(variables.renorm_mean->value(), renorm(mean_));
  read_squares(*variables.renorm_stddev, renorm(variance_));
}

std::span<double> MovingMoments::moving(std::vector<double>& all) const noexcept {
  return std::span(all).first(num_channels_);
}

std::span<double> MovingMoments::renorm(std::vector<double>& all) const noexcept {
  return std::span(all).subspan(num_channels_);
}

void MovingMoments::merge(const Communicator& replicas, const Communicator& group) {
  merge_moments(replicas, group, {count_, mean_, variance_}, pool_);
  for (std::size_t i = 0; i < count_.size(); ++i) {
    count_[i] = pool_.count(i);
    mean_[i] = pool_.mean(i);
    variance_[i] = pool_.variance(i);
  }
}

void MovingMoments::replace_by(const MomentsView& population, double added) noexcept {
  for (std::size_t i = 0; i < count_.size(); ++i) {
    const std::size_t c = i % num_channels_;
    count_[i] = population.count[c];
    mean_[i] = population.mean[c];
    variance_[i] = population.variance[c] + (variables_.stddev != nullptr ? added : 0.0);
  }
}

std::optional<std::int64_t> MovingMoments::first_unstorable() const noexcept {
  const DType dtype = variables_.mean->dtype();
  for (std::size_t i = 0; i < count_.size(); ++i)
    if (!std::isfinite(rounded_to(dtype, mean_[i])) ||
        !std::isfinite(rounded_to(dtype, variance_[i])))
      return static_cast<std::int64_t>(i % num_channels_);
  return std::nullopt;
}

void MovingMoments::assign(const BatchNormalizationOptions& options) noexcept {
  assign(*variables_.mean, mean_);
  if (variables_.biased_mean != nullptr) assign_biased_mean(*options.momentum);
  if (variables_.stddev != nullptr) return assign_renorm(options.epsilon);
  assign(*variables_.variance, variance_);
}

void MovingMoments::count_one_update() noexcept {
  if (std::ranges::none_of(count_, [](double count) { return count > 0.0; })) return;
  std::int64_t& num_updates = variables_.num_updates->value().values<std::int64_t>()[0];
  num_updates = std::max<std::int64_t>(num_updates, 1);
  if (variables_.local_step == nullptr) return;
  double steps = 0.0;
  read_as_double(variables_.local_step->value(), {&steps, 1});
  steps = std::max(steps, 1.0);
  write_from_double({&steps, 1}, variables_.local_step->value());
}

// moving_mean = biased / (1 - momentum^steps), the other way round.
void MovingMoments::assign_biased_mean(double momentum) noexcept {
  double steps = 0.0;
  read_as_double(variables_.local_step->value(), {&steps, 1});
  for (std::size_t c = 0; c < num_channels_; ++c)
    values_[c] = mean_[c] * (1.0 - std::pow(momentum, steps));
  assign(*variables_.biased_mean, values_);
}

// Standard deviations are what is averaged; moving_variance follows from theirs.
void MovingMoments::assign_renorm(double epsilon) noexcept {
  assign(*variables_.renorm_mean, std::span(mean_).subspan(num_channels_));
  for (std::size_t c = 0; c < num_channels_; ++c)
    values_[c] = std::sqrt(variance_[num_channels_ + c]);
  assign(*variables_.renorm_stddev, values_);
  for (std::size_t c = 0; c < num_channels_; ++c) values_[c] = std::sqrt(variance_[c]);
  assign(*variables_.stddev, values_);
  read_squares(*variables_.stddev, values_);
  for (double& value : values_) value = std::max(value - epsilon, 0.0);
  assign(*variables_.variance, values_);
}

void MovingMoments::assign(Variable& variable, std::span<const double> values) noexcept {
  read_as_double(variable.value(), old_values_);
  for (std::size_t c = 0; c < num_channels_; ++c)
    if (count_[c] > 0.0) old_values_[c] = values[c];
  write_from_double(old_values_, variable.value());
}

}  // namespace lockstep
