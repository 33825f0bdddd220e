// Whether numbers are finite, for checks that run in every step.

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// True when none is NaN or infinite. One pass at the speed of memory.
[[nodiscard]] bool are_finite(std::span<const double> values) noexcept;

/// An element of a tensor, and where it lies in memory order.
struct Element {
  std::int64_t index;
  double value;
};

/// The first element of a floating tensor that is NaN or infinite, if any.
[[nodiscard]] std::optional<Element> first_nonfinite(const TensorView& values) noexcept;

}  // namespace lockstep
