// From sums in double to the gradient of a parameter.

#pragma once

#include <span>

#include "lockstep/layers/layer.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// Makes `sums`, one per element, the gradient of `parameter`, or adds them to it.
void deliver(std::span<const double> sums, Gradients gradients, Variable& parameter,
             GradientScope scope = GradientScope::local) noexcept;

}  // namespace lockstep
