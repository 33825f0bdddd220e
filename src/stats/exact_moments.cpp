#include "stats/exact_moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lockstep {
namespace {

constexpr int total_bits = coarse_bits + fine_bits;
constexpr int low_bits = 40;  // 0x1p40 below
constexpr std::int64_t low_mask = (std::int64_t{1} << low_bits) - 1;
constexpr std::size_t num_header_words = 3;

std::size_t words_of(TermKind kind) noexcept { return kind == TermKind::measured ? 3 : 2; }

// What rounding `count` terms to steps of 2^step does to their sum at most.
long double rounding_error(std::int64_t count, std::int64_t step) noexcept {
  return static_cast<long double>(count) * static_cast<long double>(power_of_two(step - 1));
}

}  // namespace

ExactSums::ExactSums(std::initializer_list<TermKind> kinds, std::size_t num_channels)
    : num_channels_(num_channels),
      local_(kinds.begin(), kinds.end()),
      exponents_(kinds.size() * num_channels),
      lows_(exponents_.size()),
      highs_(exponents_.size()),
      magnitudes_(exponents_.size()) {}

std::size_t ExactSums::num_words(std::initializer_list<TermKind> kinds,
                                 std::size_t num_channels) noexcept {
  std::size_t result = num_header_words;
  for (const TermKind kind : kinds) result += words_of(kind) * num_channels;
  return result;
}

void ExactSums::reset(std::span<const std::int64_t> exponents) {
  std::ranges::transform(exponents, exponents_.begin(), [](std::int64_t exponent) {
    return std::clamp(exponent, min_exponent, max_exponent);
  });
  has_coarse_terms_ = false;
  for (std::size_t sum = 0; sum < local_.size(); ++sum)
    local_[sum].reset(std::span(exponents_).subspan(index(sum, 0), num_channels_));
}

void ExactSums::write(std::int64_t num_samples, std::span<std::int64_t> words) noexcept {
  const auto is_outside = [](const FixedPointSums& sums) { return sums.has_outside(); };
  words[0] = std::ranges::any_of(local_, is_outside) ? 1 : 0;
  words[1] = has_coarse_terms_ && num_samples > 0 ? 1 : 0;
  words[2] = num_samples;
  auto rest = words.subspan(num_header_words);
  for (FixedPointSums& sums : local_) {
    const std::span<const Wide> totals = sums.totals();
    for (std::size_t c = 0; c < num_channels_; ++c) {
      rest[c] = static_cast<std::int64_t>(totals[c] & low_mask);
      rest[num_channels_ + c] = static_cast<std::int64_t>(totals[c] >> low_bits);
    }
    if (sums.kind() == TermKind::measured)
      std::ranges::copy(sums.magnitudes(), rest.subspan(2 * num_channels_).begin());
    rest = rest.subspan(words_of(sums.kind()) * num_channels_);
  }
}

void ExactSums::read(std::span<const std::int64_t> words) noexcept {
  has_outside_ = words[0] != 0;
  has_coarse_terms_ = words[1] != 0;
  num_samples_ = words[2];
  auto rest = words.subspan(num_header_words);
  for (std::size_t sum = 0; sum < local_.size(); ++sum) {
    const TermKind kind = local_[sum].kind();
    for (std::size_t c = 0; c < num_channels_; ++c) {
      lows_[index(sum, c)] = rest[c];
      highs_[index(sum, c)] = rest[num_channels_ + c];
      if (kind == TermKind::measured) magnitudes_[index(sum, c)] = rest[2 * num_channels_ + c];
    }
    rest = rest.subspan(words_of(kind) * num_channels_);
  }
}

long double ExactSums::value(std::size_t sum, std::size_t channel) const noexcept {
  const std::size_t i = index(sum, channel);
  const auto steps =
      static_cast<long double>(highs_[i]) * 0x1p40L + static_cast<long double>(lows_[i]);
  return steps * static_cast<long double>(power_of_two(exponents_[i] - total_bits));
}

long double ExactSums::coarse_error(std::size_t sum, std::size_t channel) const noexcept {
  return rounding_error(num_samples_, exponents_[index(sum, channel)] - coarse_bits);
}

long double ExactSums::error(std::size_t sum, std::size_t channel) const noexcept {
  return has_coarse_terms_ ? coarse_error(sum, channel) : fine_error(sum, channel);
}

long double ExactSums::fine_error(std::size_t sum, std::size_t channel) const noexcept {
  return rounding_error(num_samples_, exponents_[index(sum, channel)] - total_bits);
}

double ExactSums::magnitude(std::size_t sum, std::size_t channel) const noexcept {
  const std::size_t i = index(sum, channel);
  return static_cast<double>(magnitudes_[i]) *
         power_of_two(exponents_[i] - coarse_bits + magnitude_shift);
}

std::int64_t exponent_above(double value) noexcept {
  if (!std::isfinite(value)) return max_exponent + 1;
  int exponent = 0;
  std::frexp(value, &exponent);
  return exponent;
}

void compute_moments(const ExactSums& sums, Moments& moments) noexcept {
  for (std::size_t c = 0; c < sums.num_channels(); ++c) {
    const long double count = sums.value(moment_sums::count, c);
    const long double sum = sums.value(moment_sums::sum, c);
    const long double offset = count > 0.0L ? sum / count : 0.0L;
    const long double squares = sums.value(moment_sums::sum_squares, c) - sum * offset;
    moments.count[c] = static_cast<double>(count);
    moments.offset[c] = static_cast<double>(offset);
    moments.variance[c] = count > 0.0L ? static_cast<double>(std::max(squares, 0.0L) / count) : 0.0;
  }
}

bool is_coarse(const ExactSums& sums, const Moments& moments, std::size_t channel) noexcept {
  if (!(moments.count[channel] > 0.0)) return false;
  const auto count = static_cast<long double>(moments.count[channel]);
  if (sums.fine_error(moment_sums::count, channel) > 0x1p-40L * count) return true;
  if (sums.value(moment_sums::sum_squares, channel) == 0.0L) return false;
  const auto squares = count * static_cast<long double>(moments.variance[channel]);
  return sums.error(moment_sums::sum_squares, channel) > 0x1p-18L * squares;
}

void predict_exponents(const Moments& moments, std::int64_t num_samples,
                       std::span<std::int64_t> exponents) noexcept {
  const std::size_t num_channels = moments.count.size();
  for (std::size_t c = 0; c < num_channels; ++c) {
    const double variance = moments.variance[c];
    if (!(moments.count[c] > 0.0) || !std::isfinite(variance)) continue;
    const std::int64_t count = exponent_above(moments.count[c] / static_cast<double>(num_samples));
    const auto set = [&](std::size_t sum, std::int64_t exponent) {
      exponents[sum * num_channels + c] = std::clamp(exponent, min_exponent, max_exponent);
    };
    set(moment_sums::count, count + 24);
    if (variance == 0.0) continue;
    const std::int64_t deviation = exponent_above(std::sqrt(variance));
    set(moment_sums::sum, count + deviation + 12);
    set(moment_sums::sum_squares, count + 2 * deviation + 24);
  }
}

void fit_exponents(double count, double distance, std::size_t channel,
                   std::span<std::int64_t> exponents) noexcept {
  if (!(count > 0.0)) return;
  const std::size_t num_channels = exponents.size() / moment_sums::num;
  const std::int64_t above_count = exponent_above(count) + 1;
  exponents[moment_sums::count * num_channels + channel] = above_count;
  if (!(distance > 0.0)) return;
  const std::int64_t above_distance = exponent_above(distance);
  exponents[moment_sums::sum * num_channels + channel] = above_count + above_distance;
  exponents[moment_sums::sum_squares * num_channels + channel] = above_count + 2 * above_distance;
}

bool is_coarse(const ExactSums& sums, std::size_t sum, std::size_t channel) noexcept {
  const double magnitude = sums.magnitude(sum, channel);
  return magnitude > 0.0 &&
         sums.coarse_error(sum, channel) > 0x1p-22L * static_cast<long double>(magnitude);
}

std::int64_t predicted_exponent(const ExactSums& sums, std::size_t sum, std::size_t channel,
                                std::int64_t present) noexcept {
  const double magnitude = sums.magnitude(sum, channel);
  if (!(magnitude > 0.0)) return present;
  const std::int64_t mean = exponent_above(magnitude / static_cast<double>(sums.num_samples()));
  return std::clamp(mean + 18, min_exponent, max_exponent);
}

}  // namespace lockstep
