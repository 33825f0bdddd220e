#include "stats/column_layout.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>

#include "lockstep/base/error.hpp"

namespace lockstep {

int resolved_axis(int axis, const Shape& shape) {
  const int rank = shape.rank();
  if (axis < -rank || axis >= rank)
    throw ArgumentError(fmt::format("axis {} does not exist in an input of shape {}; use {} to {}",
                                    axis, to_string(shape), -rank, rank - 1));
  return axis < 0 ? axis + rank : axis;
}

std::vector<int> resolved_axes(std::span<const int> axes, const Shape& shape) {
  if (axes.empty()) throw ArgumentError("axis is an empty list; name at least one channel axis");
  std::vector<int> result;
  for (const int axis : axes) result.push_back(resolved_axis(axis, shape));
  std::ranges::sort(result);
  if (const auto repeated = std::ranges::adjacent_find(result); repeated != result.end())
    throw ArgumentError(
        fmt::format("axis [{}] names axis {} twice", fmt::join(axes, ", "), *repeated));
  return result;
}

Columns columns_of(const Shape& shape, int axis) noexcept {
  Columns columns{1, shape[axis], 1};
  for (int i = 0; i < axis; ++i) columns.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) columns.inner *= shape[i];
  return columns;
}

ColumnLayout layout_of(const Shape& shape, std::span<const int> axes,
                       const SampleGroups& groups) noexcept {
  const auto is_channel = [&](int axis) { return std::ranges::find(axes, axis) != axes.end(); };
  std::int64_t num_channels = 1;
  for (const int axis : axes) num_channels *= shape[axis];

  ColumnLayout layout;
  layout.num_columns = num_channels;
  std::int64_t stride = num_channels;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis == 0 && groups.size > 0) {
      const std::int64_t num_groups = shape[0] / groups.size;
      layout.num_columns = num_groups * num_channels;
      if (!groups.is_contiguous) layout.append(groups.size, 0);
      layout.append(num_groups, num_channels);
      if (groups.is_contiguous) layout.append(groups.size, 0);
    } else if (is_channel(axis)) {
      stride /= std::max<std::int64_t>(shape[axis], 1);
      layout.append(shape[axis], stride);
    } else {
      layout.append(shape[axis], 0);
    }
  }
  return layout;
}

}  // namespace lockstep
