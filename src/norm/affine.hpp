// What lies between x and y: one affine function per channel.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "stats/moments.hpp"

namespace lockstep {

/// y = (x - center) * scale + shift per channel. The center is subtracted before anything is
/// rounded: x * scale + shift would cancel where |mean| >> stddev.
struct ChannelAffine {
  std::vector<double> center;  ///< representable in the storage type
  std::vector<double> scale;
  std::vector<double> shift;

  void resize(std::size_t num_channels);

  /// Appends a link: y becomes y * factor + offset.
  void then(std::span<const double> factor, std::span<const double> offset) noexcept;
};

/// rho = 1 / sqrt(variance + epsilon); 0 when both are 0, so that a constant channel stays finite.
[[nodiscard]] double inverse_stddev(double variance, double epsilon) noexcept;

/// Sets scale and shift to xhat = (x - mean) * rho for the mean center + offset; xhat = 0 when the
/// moments are those of an empty set.
void normalize_by(const Moments& moments, double epsilon, ChannelAffine& affine) noexcept;

/// The same for given moments: the mean is the center.
void normalize_by_constants(std::span<const double> variance, double epsilon,
                            ChannelAffine& affine) noexcept;

/// Sums over the elements of the set that was normalized, [channels].
struct GradientSumsView {
  std::span<double> output;      ///< of G = dL/dy: the gradient of beta
  std::span<double> normalized;  ///< of G * xhat: the gradient of gamma
};
[[nodiscard]] constexpr std::size_t gradient_sums_length(std::size_t num_channels) noexcept {
  return 2 * num_channels;
}
[[nodiscard]] GradientSumsView gradient_sums_in(std::span<double> message) noexcept;

/// dx = a * G + p * (x - center) + q per channel.
struct InputGradientAffine {
  std::vector<double> a, p, q;

  void resize(std::size_t num_channels);
};

/// The gradient through moments that depend on x (Ioffe and Szegedy 2015, section 3):
/// dx = gamma * rho * (G - sum(G) / W - xhat * sum(G * xhat) / W).
void differentiate(const GradientSumsView& sums, double count, const ChannelAffine& normalization,
                   std::span<const double> gamma, InputGradientAffine& result) noexcept;

/// The gradient through moments that are constants: dx = gamma * rho * G.
void differentiate_constant(const ChannelAffine& normalization, std::span<const double> gamma,
                            InputGradientAffine& result) noexcept;

}  // namespace lockstep
