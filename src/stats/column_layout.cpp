#include "stats/column_layout.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"

namespace lockstep {

int resolved_axis(int axis, const Shape& shape) {
  const int rank = shape.rank();
  if (axis < -rank || axis >= rank)
    throw ArgumentError(fmt::format("axis {} does not exist in an input of shape {}; use {} to {}",
                                    axis, to_string(shape), -rank, rank - 1));
  return axis < 0 ? axis + rank : axis;
}

Columns columns_of(const Shape& shape, int axis) noexcept {
  Columns columns{1, shape[axis], 1};
  for (int i = 0; i < axis; ++i) columns.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) columns.inner *= shape[i];
  return columns;
}

}  // namespace lockstep
