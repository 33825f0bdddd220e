// Whether numbers are finite, for checks that run in every step.

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// True when none is NaN or infinite.
[[nodiscard]] bool are_finite(std::span<const double> values) noexcept;

/// values = source, a parameter's; true when they are finite. In the same pass, so that it costs
/// nothing beside reading them.
[[nodiscard]] bool read_if_finite(const TensorView& source, std::span<double> values) noexcept;

/// An element of a tensor, and where it lies in memory order.
struct Element {
  std::int64_t index;
  double value;
};

/// The first element of a floating tensor that is NaN or infinite, if any.
[[nodiscard]] std::optional<Element> first_nonfinite(const TensorView& values) noexcept;

}  // namespace lockstep
