// Values and derivatives of the activation functions, one by one and for whole arrays.

#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/kernels/activation_function.hpp"

namespace lockstep {

/// output = function(input), element by element; both may be the same memory. Finite for finite
/// input, NaN for NaN. `negative_slope` is that of leaky_relu. For float and double.
template <class T>
void activate(ActivationFunction function, double negative_slope, const T* input, T* output,
              std::int64_t num_elements);

/// input_gradient = output_gradient * derivative(input), where input is that of activate(); the
/// gradients may be the same memory. At a kink the derivative is that of the side below for relu,
/// leaky_relu and relu6 at 0, and 0 for relu6 at 6.
template <class T>
void activation_gradient(ActivationFunction function, double negative_slope, const T* input,
                         const T* output_gradient, T* input_gradient, std::int64_t num_elements);

/// The same for doubles and any activation.
void activate(const AnyActivation& activation, double negative_slope, const double* input,
              double* output, std::int64_t num_elements);
void activation_gradient(const AnyActivation& activation, double negative_slope,
                         const double* input, const double* output_gradient, double* input_gradient,
                         std::int64_t num_elements);
[[nodiscard]] inline bool is_linear(const AnyActivation& activation) noexcept {
  const auto* function = std::get_if<ActivationFunction>(&activation);
  return function != nullptr && *function == ActivationFunction::linear;
}

namespace activations {

// exp(-|x|) never overflows; written like this sigmoid and its derivative lose no digits.
template <class T>
T sigmoid(T x) noexcept {
  const T e = std::exp(-std::abs(x));
  return (x >= T(0) ? T(1) : e) / (T(1) + e);
}
template <class T>
T sigmoid_derivative(T x) noexcept {
  const T e = std::exp(-std::abs(x));
  return e / ((T(1) + e) * (T(1) + e));
}

// Comparisons are written so that NaN becomes NaN.
template <class T>
struct Linear {
  T value(T x) const noexcept { return x; }
  T derivative(T) const noexcept { return T(1); }
};
template <class T>
struct Relu {
  T value(T x) const noexcept { return x < T(0) ? T(0) : x; }
  T derivative(T x) const noexcept { return x <= T(0) ? T(0) : T(1); }
};
template <class T>
struct Relu6 {
  T value(T x) const noexcept { return x < T(0) ? T(0) : x > T(6) ? T(6) : x; }
  T derivative(T x) const noexcept { return x <= T(0) || x >= T(6) ? T(0) : T(1); }
};
template <class T>
struct LeakyRelu {
  T negative_slope;
  T value(T x) const noexcept { return x < T(0) ? negative_slope * x : x; }
  T derivative(T x) const noexcept { return x <= T(0) ? negative_slope : T(1); }
};
template <class T>
struct Elu {
  T value(T x) const noexcept { return x > T(0) ? x : std::expm1(x); }
  T derivative(T x) const noexcept { return x > T(0) ? T(1) : std::exp(x); }
};
template <class T>
struct Sigmoid {
  T value(T x) const noexcept { return sigmoid(x); }
  T derivative(T x) const noexcept { return sigmoid_derivative(x); }
};
// tanh(x) = 2 sigmoid(2 x) - 1; 1 - tanh(x)^2 would lose digits.
template <class T>
struct Tanh {
  T value(T x) const noexcept { return std::tanh(x); }
  T derivative(T x) const noexcept { return T(4) * sigmoid_derivative(T(2) * x); }
};
// Phi(x) = erfc(-x / sqrt(2)) / 2, which loses no digits for negative x. Hendrycks and Gimpel 2016.
template <class T>
struct Gelu {
  static T distribution(T x) noexcept { return std::erfc(-x / std::numbers::sqrt2_v<T>) / T(2); }
  static T density(T x) noexcept {
    constexpr T scale = std::numbers::inv_sqrtpi_v<T> / std::numbers::sqrt2_v<T>;
    return scale * std::exp(-x * x / T(2));
  }
  T value(T x) const noexcept { return x * distribution(x); }
  T derivative(T x) const noexcept { return distribution(x) + x * density(x); }
};
template <class T>
struct Silu {
  T value(T x) const noexcept { return x * sigmoid(x); }
  T derivative(T x) const noexcept { return sigmoid(x) + x * sigmoid_derivative(x); }
};

}  // namespace activations

/// Calls `visitor` with the function for elements of type T, an object with value(x) and
/// derivative(x), so that a loop can inline it.
template <class T, class Visitor>
decltype(auto) visit_activation(ActivationFunction function, double negative_slope,
                                Visitor&& visitor) {
  using namespace activations;
  switch (function) {
    case ActivationFunction::linear:
      return std::forward<Visitor>(visitor)(Linear<T>{});
    case ActivationFunction::relu:
      return std::forward<Visitor>(visitor)(Relu<T>{});
    case ActivationFunction::relu6:
      return std::forward<Visitor>(visitor)(Relu6<T>{});
    case ActivationFunction::leaky_relu:
      return std::forward<Visitor>(visitor)(LeakyRelu<T>{static_cast<T>(negative_slope)});
    case ActivationFunction::elu:
      return std::forward<Visitor>(visitor)(Elu<T>{});
    case ActivationFunction::sigmoid:
      return std::forward<Visitor>(visitor)(Sigmoid<T>{});
    case ActivationFunction::tanh:
      return std::forward<Visitor>(visitor)(Tanh<T>{});
    case ActivationFunction::gelu:
      return std::forward<Visitor>(visitor)(Gelu<T>{});
    case ActivationFunction::silu:
      return std::forward<Visitor>(visitor)(Silu<T>{});
  }
  throw ArgumentError("the activation function is none of those there are");
}

}  // namespace lockstep
