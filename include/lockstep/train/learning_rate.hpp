// The learning rate as a function of the number of steps.

#pragma once

#include <cstdint>
#include <string>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// A rate that drops: initial * factor^(step / interval), the quotient rounded down.
struct StepDecay {
  double initial = 0.01;
  double factor = 0.1;
  std::int64_t interval = 1000;  ///< steps between two drops
};

/// A constant, or a rate that drops.
class LOCKSTEP_EXPORT LearningRate {
 public:
  LearningRate(double constant) noexcept : decay_{constant, 1.0, 1} {}  // NOLINT: a number is one
  LearningRate(const StepDecay& decay) noexcept : decay_(decay) {}      // NOLINT: likewise

  /// The rate of the step that follows `num_steps` others.
  [[nodiscard]] double at(std::int64_t num_steps) const noexcept;

  /// That of a constant has the factor 1.
  [[nodiscard]] const StepDecay& decay() const noexcept { return decay_; }

 private:
  StepDecay decay_;
};

/// Throws ArgumentError unless the initial rate and the factor are finite and >= 0 and the interval
/// is at least 1.
LOCKSTEP_EXPORT void validate(const LearningRate& rate);

/// "0.1", or "0.1, times 0.5 every 100 steps".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const LearningRate& rate);

}  // namespace lockstep
