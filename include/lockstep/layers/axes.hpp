// Which axes of a tensor run over channels.

#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

namespace lockstep {

/// One axis or several; negative ones count from the end. `Axes axis = -1` and `{1, 3}` both work.
class Axes {
 public:
  Axes(int axis) : axes_{axis} {}                         // NOLINT: an axis is axes
  Axes(std::initializer_list<int> axes) : axes_(axes) {}  // NOLINT
  explicit Axes(std::vector<int> axes) : axes_(std::move(axes)) {}

  [[nodiscard]] const std::vector<int>& values() const noexcept { return axes_; }

  friend bool operator==(const Axes&, const Axes&) = default;

 private:
  std::vector<int> axes_;
};

}  // namespace lockstep
