#include "train/loss_scale.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// Below it even a gradient of 1 vanishes in float16; beyond float32 the scale itself would.
constexpr double smallest_scale = 0x1p-24;
constexpr double largest_scale = 0x1p127;

void require(bool holds, const char* what, double value) {
  if (!holds) throw ArgumentError(fmt::format("loss scaling needs {}, got {}", what, value));
}

}  // namespace

void validate(const LossScaling& options) {
  require(options.initial_scale >= smallest_scale && options.initial_scale <= largest_scale,
          "an initial_scale from 2^-24 to 2^127", options.initial_scale);
  require(options.growth_factor >= 1.0 && std::isfinite(options.growth_factor),
          "a finite growth_factor >= 1", options.growth_factor);
  require(options.growth_interval >= 1, "a growth_interval of at least 1 step",
          static_cast<double>(options.growth_interval));
  require(options.backoff_factor > 0.0 && options.backoff_factor < 1.0,
          "a backoff_factor between 0 and 1", options.backoff_factor);
}

std::string to_string(const std::optional<LossScaling>& options) {
  if (!options) return "none";
  return fmt::format("initial_scale {}, growth_factor {}, growth_interval {}, backoff_factor {}",
                     options->initial_scale, options->growth_factor, options->growth_interval,
                     options->backoff_factor);
}

LossScale::LossScale(const LossScaling& options) noexcept
    : options_(options), value_(options.initial_scale) {}

bool LossScale::is_exhausted() const noexcept { return value_ < smallest_scale; }

void LossScale::restore(double value, std::int64_t num_good_steps) noexcept {
  value_ = value;
  num_good_steps_ = num_good_steps;
}

void LossScale::grow_after_good_step() noexcept {
  if (++num_good_steps_ < options_.growth_interval) return;
  num_good_steps_ = 0;
  if (value_ * options_.growth_factor <= largest_scale) value_ *= options_.growth_factor;
}

void LossScale::back_off() noexcept {
  num_good_steps_ = 0;
  value_ *= options_.backoff_factor;
}

}  // namespace lockstep
