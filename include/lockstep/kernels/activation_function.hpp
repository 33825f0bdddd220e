// Names of the elementwise functions that layers apply to their results.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "lockstep/base/export.hpp"

namespace lockstep {

enum class ActivationFunction : std::uint8_t {
  linear,      ///< x
  relu,        ///< max(x, 0)
  relu6,       ///< min(max(x, 0), 6)
  leaky_relu,  ///< x above 0, negative_slope x below
  elu,         ///< x above 0, exp(x) - 1 below
  sigmoid,     ///< 1 / (1 + exp(-x))
  tanh,
  gelu,  ///< x Phi(x), Phi the standard normal distribution function (not its tanh approximation)
  silu,  ///< x sigmoid(x)
};

/// Slope of leaky_relu below 0 where none is given, that of Keras 3's activations.
inline constexpr double default_negative_slope = 0.2;

/// "leaky_relu".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(ActivationFunction function) noexcept;

/// The function with that name. Throws ArgumentError listing the names there are.
[[nodiscard]] LOCKSTEP_EXPORT ActivationFunction activation_function_of(std::string_view name);

/// A function of the user's own with its derivative, both of the value before activation.
struct CustomActivation {
  std::string name;
  std::function<double(double)> value;
  std::function<double(double)> derivative;
};

using AnyActivation = std::variant<ActivationFunction, CustomActivation>;

}  // namespace lockstep
