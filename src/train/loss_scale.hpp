// The scale of the loss as training goes on.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lockstep/train/loss_scaling.hpp"

namespace lockstep {

/// Throws ArgumentError for options outside of their ranges.
void validate(const LossScaling& options);

/// The options in words; "none".
[[nodiscard]] std::string to_string(const std::optional<LossScaling>& options);

/// A scale that follows from what the merged gradients of all steps were, and is thus equal on all
/// ranks.
class LossScale {
 public:
  explicit LossScale(const LossScaling& options) noexcept;

  [[nodiscard]] double value() const noexcept { return value_; }
  /// True when the scale is so small that a lower one cannot help.
  [[nodiscard]] bool is_exhausted() const noexcept;

  /// Steps since the scale changed.
  [[nodiscard]] std::int64_t num_good_steps() const noexcept { return num_good_steps_; }
  void restore(double value, std::int64_t num_good_steps) noexcept;

  void grow_after_good_step() noexcept;
  void back_off() noexcept;

 private:
  LossScaling options_;
  double value_;
  std::int64_t num_good_steps_ = 0;
};

}  // namespace lockstep
