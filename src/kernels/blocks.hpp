// How the columns of a batch lie in memory, and the pieces in which loops go through them.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace lockstep {

/// A row-major tensor whose elements belong to columns: the sets that are normalized on their own.
/// An element's column is the sum of position * column_stride over the axes; along axes of column
/// stride 0 lie the elements of one column.
struct ColumnLayout {
  struct Axis {
    std::int64_t extent;
    std::int64_t column_stride;
  };

  std::array<Axis, 18> axes{};  ///< those of a tensor, of which one may be cut in two
  std::size_t num_axes = 0;
  std::int64_t num_columns = 0;

  [[nodiscard]] std::span<const Axis> used() const noexcept { return {axes.data(), num_axes}; }

  [[nodiscard]] std::int64_t num_elements() const noexcept {
    std::int64_t product = 1;
    for (const Axis& axis : used()) product *= axis.extent;
    return product;
  }

  /// Puts an axis after the others, merged with the last one where that is the same.
  void append(std::int64_t extent, std::int64_t column_stride) noexcept {
    if (extent == 1) return;
    if (num_axes > 0) {
      Axis& last = axes[num_axes - 1];
      if (last.column_stride == column_stride * extent) {
        last = {last.extent * extent, column_stride};
        return;
      }
    }
    axes[num_axes++] = {extent, column_stride};
  }
};

/// Consecutive elements [first, first + count), at most block_size of them: those of one column, or
/// one each of consecutive columns.
struct Block {
  std::int64_t first;
  std::size_t count;
  std::size_t column;       ///< of the first element
  std::size_t column_step;  ///< 0 or 1
};
inline constexpr std::int64_t block_size = 512;

/// Calls visit(Block) for all elements in memory order. No block crosses a multiple of
/// `granularity`.
template <class Visit>
void for_each_block(const ColumnLayout& layout, std::int64_t granularity, Visit&& visit) {
  const auto axes = layout.used();
  if (layout.num_elements() == 0) return;
  const ColumnLayout::Axis innermost = axes.empty() ? ColumnLayout::Axis{1, 0} : axes.back();
  const auto outer = axes.first(axes.empty() ? 0 : axes.size() - 1);
  const std::size_t step = innermost.column_stride == 0 ? 0 : 1;
  std::array<std::int64_t, 18> position{};
  std::int64_t first = 0;
  std::int64_t column = 0;
  for (;;) {
    for (std::int64_t done = 0; done < innermost.extent;) {
      const std::int64_t room = granularity - (first + done) % granularity;
      const std::int64_t count = std::min({block_size, innermost.extent - done, room});
      visit(Block{first + done, static_cast<std::size_t>(count),
                  static_cast<std::size_t>(column + done * innermost.column_stride), step});
      done += count;
    }
    first += innermost.extent;
    std::size_t axis = outer.size();
    for (; axis > 0; --axis) {
      column += outer[axis - 1].column_stride;
      if (++position[axis - 1] < outer[axis - 1].extent) break;
      column -= outer[axis - 1].extent * outer[axis - 1].column_stride;
      position[axis - 1] = 0;
    }
    if (axis == 0) return;
  }
}

}  // namespace lockstep
