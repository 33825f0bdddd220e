// From a tensor's shape and channel axes to columns in memory.

#pragma once

#include <span>
#include <vector>

#include "kernels/blocks.hpp"
#include "kernels/columns.hpp"
#include "lockstep/base/shape.hpp"

namespace lockstep {

/// The axis counted from the front. Throws ArgumentError unless -rank <= axis < rank.
[[nodiscard]] int resolved_axis(int axis, const Shape& shape);

/// The axes counted from the front, in ascending order. Throws ArgumentError for none, for those
/// that `shape` does not have, and for repeated ones.
[[nodiscard]] std::vector<int> resolved_axes(std::span<const int> axes, const Shape& shape);

/// Where the channels of `axis` (counted from the front) lie in a tensor of `shape`.
[[nodiscard]] Columns columns_of(const Shape& shape, int axis) noexcept;

/// How samples are grouped, each group normalized on its own.
struct SampleGroups {
  std::int64_t size = 0;       ///< samples per group; 0: all samples are one group
  bool is_contiguous = false;  ///< or sample n belongs to group n mod number of groups
};

/// Columns of a tensor with the channel `axes` (ascending). Channels are numbered row-major over
/// these axes; column = group * number of channels + channel. `groups.size` divides the extent of
/// axis 0, which is no channel axis then.
[[nodiscard]] ColumnLayout layout_of(const Shape& shape, std::span<const int> axes,
                                     const SampleGroups& groups = {}) noexcept;

}  // namespace lockstep
