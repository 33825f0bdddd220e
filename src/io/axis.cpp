#include "io/axis.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep {
namespace {

constexpr double too_large = 1e100;
constexpr double too_small = 1e-100;
constexpr double forgiven = 1e-6;  // rounding errors, in steps

// A stretch with room around a single value, without ticks.
Axis stretch_of(std::span<const double> values) {
  if (values.empty()) return {};
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  const double size = std::max(std::abs(*least), std::abs(*greatest));
  if (*greatest - *least > std::max(1e-9 * size, too_small)) return {*least, *greatest, {}};
  const double room = size > too_small ? 0.5 * size : 1.0;
  return {*least - room, *greatest + room, {}};
}

// The least of 1, 2 and 5 times a power of ten that cuts the stretch into at most 6 parts.
double step_of(const Axis& axis) {
  const double wanted = (axis.maximum - axis.minimum) / 6.0;
  const double power = std::pow(10.0, std::floor(std::log10(wanted)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= wanted) return factor * power;
  return 10.0 * power;
}

// Multiples of `step` from the minimum to the maximum.
void set_ticks(Axis& axis, double step) {
  const double first = std::ceil(axis.minimum / step - forgiven);
  const double last = std::floor(axis.maximum / step + forgiven);
  for (double i = first; i <= last; i += 1.0) axis.ticks.push_back(i * step + 0.0);  // no -0
}

}  // namespace

bool can_be_drawn(double value) noexcept { return std::abs(value) <= too_large; }

Axis tight_axis(std::span<const double> values) {
  Axis axis = stretch_of(values);
  const bool are_whole = std::all_of(values.begin(), values.end(),
                                     [](double value) { return value == std::floor(value); });
  const double step = step_of(axis);
  set_ticks(axis, are_whole ? std::max(step, 1.0) : step);
  return axis;
}

Axis round_axis(std::span<const double> values) {
  Axis axis = stretch_of(values);
  const double step = step_of(axis);
  axis.minimum = step * std::floor(axis.minimum / step + forgiven);
  axis.maximum = step * std::ceil(axis.maximum / step - forgiven);
  set_ticks(axis, step);
  return axis;
}

}  // namespace lockstep
