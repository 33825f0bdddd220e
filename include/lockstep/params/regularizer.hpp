// Penalties on the values of a parameter.

#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// l1 * sum |w| + l2 * sum w^2, as in Keras: without a factor 1/2.
struct L1L2 {
  double l1 = 0.0;
  double l2 = 0.0;

  friend bool operator==(const L1L2&, const L1L2&) = default;
};

/// A penalty of the user's own. Equal values must give equal results on all ranks.
struct RegularizerFunction {
  std::string name = {};  ///< not empty; ranks compare it
  std::function<double(std::span<const double> values)> penalty = {};
  /// Adds the derivative of the penalty to `gradient`, one element per value.
  std::function<void(std::span<const double> values, std::span<double> gradient)> add_gradient = {};
};

/// What a parameter's values add to the loss, once, not once per rank; nothing by default.
using Regularizer = std::variant<std::monostate, L1L2, RegularizerFunction>;

[[nodiscard]] LOCKSTEP_EXPORT Regularizer l1(double factor = 0.01);
[[nodiscard]] LOCKSTEP_EXPORT Regularizer l2(double factor = 0.01);
[[nodiscard]] LOCKSTEP_EXPORT Regularizer l1_l2(double l1_factor = 0.01, double l2_factor = 0.01);

/// Throws ArgumentError for factors that are negative or not finite, and for functions that are
/// missing or have no name.
LOCKSTEP_EXPORT void validate(const Regularizer& regularizer);

/// The penalty of `values`; 0 without a regularizer. Throws what a function of the user's throws.
[[nodiscard]] LOCKSTEP_EXPORT double penalty(const Regularizer& regularizer,
                                             std::span<const double> values);

/// gradient += d penalty / d values. At 0 the derivative of |w| is 0. Throws ArgumentError when the
/// sizes differ, and what a function of the user's throws.
LOCKSTEP_EXPORT void add_penalty_gradient(const Regularizer& regularizer,
                                          std::span<const double> values,
                                          std::span<double> gradient);

/// The regularizer in words: "l2(0.01)", "function(name)", "none".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const Regularizer& regularizer);

}  // namespace lockstep
