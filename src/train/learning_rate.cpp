#include "lockstep/train/learning_rate.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

bool is_usable(double value) { return std::isfinite(value) && value >= 0.0; }

}  // namespace

double LearningRate::at(std::int64_t num_steps) const noexcept {
  // Options are validated later.
  const std::int64_t num_drops = num_steps / std::max<std::int64_t>(decay_.interval, 1);
  return decay_.initial * std::pow(decay_.factor, static_cast<double>(num_drops));
}

void validate(const LearningRate& rate) {
  const StepDecay& decay = rate.decay();
  if (!is_usable(decay.initial))
    throw ArgumentError(
        fmt::format("an optimizer needs a finite learning_rate >= 0, got {}", decay.initial));
  if (!is_usable(decay.factor))
    throw ArgumentError(fmt::format(
        "the learning_rate needs a finite factor >= 0 to drop by, got {}", decay.factor));
  if (decay.interval < 1)
    throw ArgumentError(fmt::format(
        "the learning_rate needs an interval of at least 1 step, got {}", decay.interval));
}

std::string to_string(const LearningRate& rate) {
  const StepDecay& decay = rate.decay();
  if (decay.factor == 1.0) return fmt::format("{}", decay.initial);
  return fmt::format("{}, times {} every {} steps", decay.initial, decay.factor, decay.interval);
}

}  // namespace lockstep
