// From sums in double to the gradient of a parameter.

#pragma once

#include <span>

#include "lockstep/layers/layer.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// Throws StateError when a gradient of this scope would be accumulated to one of the other scope,
/// so that nobody could tell whose samples the sum is about. Zeros are of any scope. To be called
/// before anything changes, and where a failure of this rank is still taken to the others: local
/// gradients may be zero on some ranks only.
void require_same_scope(const Variable& parameter, Gradients gradients, GradientScope scope);

/// Makes `sums`, one per element, the gradient of `parameter`, or adds them to it; see
/// require_same_scope().
void deliver(std::span<const double> sums, Gradients gradients, Variable& parameter,
             GradientScope scope = GradientScope::local) noexcept;

}  // namespace lockstep
