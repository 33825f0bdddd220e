#include "layers/moving_statistics.hpp"

#include <algorithm>
#include <cmath>

#include "base/convert.hpp"
#include "stats/moments.hpp"

namespace lockstep {

void MovingUpdate::resize(std::size_t num_channels) {
  count.resize(num_channels);
  mean.resize(num_channels);
  variance.resize(num_channels);
}

MovingStatistics::MovingStatistics(const BatchNormalizationOptions& options,
                                   const MovingVariables& variables)
    : options_(options), variables_(variables) {
  const auto num_channels = static_cast<std::size_t>(variables.mean->num_elements());
  is_updated_.resize(num_channels);
  values_.resize(num_channels);
  batch_.resize(num_channels);
}

void MovingStatistics::apply(const MovingUpdate& update) noexcept {
  choose_channels(update);
  if (std::ranges::count(is_updated_, 1) == 0) return;

  std::int64_t& num_updates = variables_.num_updates->value().values<std::int64_t>()[0];
  ++num_updates;
  const auto num_elements = variables_.num_elements->value().values<double>();
  for (std::size_t c = 0; c < is_updated_.size(); ++c)
    if (is_updated_[c] != 0) num_elements[c] += update.count[c];
  const double momentum = options_.momentum.value_or(1.0 - 1.0 / static_cast<double>(num_updates));
  if (variables_.biased_mean != nullptr)
    average_without_bias(update.mean, momentum);
  else
    average(*variables_.mean, update.mean, momentum);
  if (variables_.stddev != nullptr) return average_renorm(update, momentum);

  average(*variables_.variance, update.variance, momentum);
}

void MovingStatistics::defer(MovingUpdates& update) noexcept {
  update.front().number = next_update_number();
  deferred_.splice(deferred_.end(), update, update.begin());
}

std::optional<std::uint64_t> MovingStatistics::next_update() const noexcept {
  if (deferred_.empty()) return std::nullopt;
  return deferred_.front().number;
}

void MovingStatistics::apply_next_update() noexcept {
  if (deferred_.empty()) return;
  apply(deferred_.front());
  spare_.splice(spare_.end(), deferred_, deferred_.begin());
}

void MovingStatistics::provide(MovingUpdates& update) {
  if (update.empty()) {
    if (spare_.empty()) spare_.emplace_back();
    update.splice(update.begin(), spare_, spare_.begin());
  }
  update.front().resize(is_updated_.size());
}

void MovingStatistics::choose_channels(const MovingUpdate& update) noexcept {
  const DType dtype = variables_.variance->dtype();
  for (std::size_t c = 0; c < is_updated_.size(); ++c)
    is_updated_[c] =
        update.count[c] > 0.0 &&
        (options_.nonfinite == Nonfinite::warn ||
         (std::isfinite(update.mean[c]) && std::isfinite(rounded_to(dtype, update.variance[c]))));
}

void MovingStatistics::average(Variable& average, std::span<const double> batch,
                               double momentum) noexcept {
  read_as_double(average.value(), values_);
  for (std::size_t c = 0; c < values_.size(); ++c)
    if (is_updated_[c] != 0) values_[c] = moving_average(values_[c], batch[c], momentum);
  write_from_double(values_, average.value());
}

// biased <- average of means that began with 0; moving_mean = biased / (1 - momentum^steps).
void MovingStatistics::average_without_bias(std::span<const double> batch,
                                            double momentum) noexcept {
  average(*variables_.biased_mean, batch, momentum);
  double step = 0.0;
  read_as_double(variables_.local_step->value(), {&step, 1});
  step += 1.0;
  write_from_double({&step, 1}, variables_.local_step->value());

  read_as_double(variables_.mean->value(), values_);
  read_as_double(variables_.biased_mean->value(), batch_);
  for (std::size_t c = 0; c < values_.size(); ++c)
    if (is_updated_[c] != 0) values_[c] = batch_[c] / (1.0 - std::pow(momentum, step));
  write_from_double(values_, variables_.mean->value());
}

// Averages standard deviations; moving_variance follows from theirs.
void MovingStatistics::average_renorm(const MovingUpdate& update, double momentum) noexcept {
  average(*variables_.renorm_mean, update.mean, options_.renorm_momentum);
  std::ranges::transform(update.variance, batch_.begin(),
                         [&](double variance) { return std::sqrt(variance + options_.epsilon); });
  average(*variables_.renorm_stddev, batch_, options_.renorm_momentum);
  average(*variables_.stddev, batch_, momentum);

  read_as_double(variables_.stddev->value(), batch_);
  read_as_double(variables_.variance->value(), values_);
  for (std::size_t c = 0; c < values_.size(); ++c)
    if (is_updated_[c] != 0) values_[c] = std::max(batch_[c] * batch_[c] - options_.epsilon, 0.0);
  write_from_double(values_, variables_.variance->value());
}

}  // namespace lockstep
