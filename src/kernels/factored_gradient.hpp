// Coefficients of gradients as vector kernels take them.

#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/vector_choice.hpp"

namespace lockstep {

/// What coefficients and centers are rounded to.
template <class T>
double rounded(double value) noexcept {
  return std::is_same_v<T, double> ? value : static_cast<double>(static_cast<float>(value));
}

/// Adds what kernels gave for G and G (x - center) scale of channel c to the sums of G and G xhat.
template <class T>
void add_normalized_sums(const AffineView& normalization, std::size_t c, double first,
                         double second, double& sum, double& sum_products) noexcept {
  const double moved = rounded<T>(normalization.center[c]) - normalization.center[c];
  sum += first;
  sum_products += second + first * (moved * normalization.scale[c] + normalization.shift[c]);
}

/// Two numbers per channel, in memory that is kept.
struct ChannelPairs {
  std::vector<double> first, second;

  void clear(std::int64_t num_channels) {
    first.assign(static_cast<std::size_t>(num_channels), 0.0);
    second.assign(static_cast<std::size_t>(num_channels), 0.0);
  }
};

/// The gradient with a factored out into `pairs`; false where a is 0 and something else is not.
[[nodiscard]] bool factor(const InputGradientView& gradient, std::int64_t num_columns,
                          ChannelPairs& pairs);

template <class T>
bool factored_fit(const FactoredGradientView& gradient, std::int64_t count) noexcept {
  return fit<T>(gradient.a, count) && fit<T>(gradient.p, count) &&
         do_not_overflow<T>(gradient.q, count);
}

}  // namespace lockstep
