// Projections that keep the values of a parameter where they are allowed.

#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"

namespace lockstep {

// Norms are roots of sums of squares along `axes`, for every position along the other axes;
// negative axes count from the end. As in Keras a norm is brought to a desired one by the factor
// desired / (1e-7 + norm), which misses it by a little and spares a zero.

/// Norms above `max_value` are scaled down to it.
struct MaxNorm {
  double max_value = 2.0;
  std::vector<int> axes = {0};

  friend bool operator==(const MaxNorm&, const MaxNorm&) = default;
};
/// Negative values become 0.
struct NonNeg {
  friend bool operator==(const NonNeg&, const NonNeg&) = default;
};
/// Norms become 1.
struct UnitNorm {
  std::vector<int> axes = {0};

  friend bool operator==(const UnitNorm&, const UnitNorm&) = default;
};
/// Norms go the part `rate` of the way into [min_value, max_value].
struct MinMaxNorm {
  double min_value = 0.0;
  double max_value = 1.0;
  double rate = 1.0;
  std::vector<int> axes = {0};

  friend bool operator==(const MinMaxNorm&, const MinMaxNorm&) = default;
};
/// A projection of the user's own. Equal values must give equal results on all ranks.
struct ConstraintFunction {
  std::string name = {};  ///< not empty; ranks compare it
  std::function<void(std::span<double> values, const Shape& shape)> project = {};
};

/// What follows every optimizer step; nothing by default.
using Constraint =
    std::variant<std::monostate, MaxNorm, NonNeg, UnitNorm, MinMaxNorm, ConstraintFunction>;

/// Throws ArgumentError for impossible limits or rates, for axes that are none, double or not those
/// of `shape`, and for functions that are missing or have no name.
LOCKSTEP_EXPORT void validate(const Constraint& constraint, const Shape& shape);

/// Projects row-major `values` of `shape`. Throws ArgumentError when constraint, shape and values
/// do not fit each other, and what a function of the user's throws.
LOCKSTEP_EXPORT void project(const Constraint& constraint, const Shape& shape,
                             std::span<double> values);

/// The constraint in words: "max_norm(2, axes 0)", "function(name)", "none".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const Constraint& constraint);

}  // namespace lockstep
