// From a tensor's shape and channel axis to channels in memory.

#pragma once

#include "kernels/columns.hpp"
#include "lockstep/base/shape.hpp"

namespace lockstep {

/// The axis counted from the front. Throws ArgumentError unless -rank <= axis < rank.
[[nodiscard]] int resolved_axis(int axis, const Shape& shape);

/// Where the channels of `axis` (counted from the front) lie in a tensor of `shape`.
[[nodiscard]] Columns columns_of(const Shape& shape, int axis) noexcept;

}  // namespace lockstep
