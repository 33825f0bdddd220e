#include "stats/pooled_moments.hpp"

namespace lockstep {

SetMoments union_of(const SetMoments& a, const SetMoments& b) noexcept {
  if (!(a.count > 0.0)) return b;
  if (!(b.count > 0.0)) return a;
  const double count = a.count + b.count;
  const double weight = b.count / count;
  const double other_weight = a.count / count;
  const double distance = b.mean - a.mean;
  return {count, a.mean + weight * distance,
          other_weight * a.variance + weight * b.variance +
              weight * other_weight * distance * distance};
}

PooledMoments::PooledMoments(std::size_t num_channels)
    : mean_sums_(2 * num_channels), variance_sums_(num_channels) {}

void PooledMoments::add_mean(const MomentsView& set) noexcept {
  const std::size_t num_channels = variance_sums_.size();
  for (std::size_t c = 0; c < num_channels; ++c) {
    if (!(set.count[c] > 0.0)) continue;
    mean_sums_[c] += set.count[c];
    mean_sums_[num_channels + c] += set.count[c] * set.mean[c];
  }
}

void PooledMoments::add_variance(const MomentsView& set) noexcept {
  for (std::size_t c = 0; c < variance_sums_.size(); ++c) {
    if (!(set.count[c] > 0.0)) continue;
    const double deviation = set.mean[c] - mean(c);
    variance_sums_[c] += set.count[c] * (set.variance[c] + deviation * deviation);
  }
}

double PooledMoments::mean(std::size_t channel) const noexcept {
  const double sum = mean_sums_[variance_sums_.size() + channel];
  return count(channel) > 0.0 ? sum / count(channel) : 0.0;
}

double PooledMoments::variance(std::size_t channel) const noexcept {
  return count(channel) > 0.0 ? variance_sums_[channel] / count(channel) : 0.0;
}

}  // namespace lockstep
