// What lies between x and y: one affine function per channel.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lockstep/base/dtype.hpp"
#include "stats/moments.hpp"

namespace lockstep {

// Arrays are per column, or per channel where columns repeat: column = group * channels + channel.

/// y = (x - center) * scale + shift per column. The center is subtracted before anything is
/// rounded: x * scale + shift would cancel where |mean| >> stddev.
struct ChannelAffine {
  std::vector<double> center;  ///< representable in the storage type
  std::vector<double> scale;
  std::vector<double> shift;

  void resize(std::size_t num_columns);

  /// Appends a link per channel: y becomes y * factor + offset.
  void then(std::span<const double> factor, std::span<const double> offset) noexcept;
};

/// rho = 1 / sqrt(variance + epsilon); 0 when both are 0, so that a constant channel stays finite.
[[nodiscard]] double inverse_stddev(double variance, double epsilon) noexcept;

/// Sets scale and shift to xhat = (x - mean) * rho for the mean center + offset; xhat = 0 when the
/// moments are those of an empty set. The center, and with it the offset, moves to the mean rounded
/// to `dtype`: x - center and shift are small then, so that kernels may compute in `dtype`, and an
/// x that is the mean, where `dtype` can hold that, becomes exactly 0: rounding does not choose its
/// side of a kink.
void normalize_by(Moments& moments, double epsilon, DType dtype, ChannelAffine& affine) noexcept;

/// The same for given moments: the mean is the center.
void normalize_by_constants(std::span<const double> variance, double epsilon,
                            ChannelAffine& affine) noexcept;

/// Sums over the elements of the sets that were normalized, as they lie in a message. G = dL/dy
/// behind the activation; s, b: an adjustment's scale and bias.
struct GradientSumsView {
  std::span<double> output;      ///< A = sum of G
  std::span<double> normalized;  ///< C = sum of G s xhat
  std::span<double> adjusted;    ///< B = sum of G s; A without an adjustment
  std::span<double> bias;        ///< D = sum of G b; empty without an adjustment
};
[[nodiscard]] constexpr std::size_t gradient_sums_length(std::size_t num_columns,
                                                         bool is_adjusted) noexcept {
  return (is_adjusted ? 4 : 2) * num_columns;
}
[[nodiscard]] GradientSumsView gradient_sums_in(std::span<double> message,
                                                bool is_adjusted) noexcept;

/// dx = a s G + w (p (x - center) + q) per column.
struct InputGradientAffine {
  std::vector<double> a, p, q;

  void resize(std::size_t num_columns);
};

/// The gradient through moments that depend on x (Ioffe and Szegedy 2015, section 3):
/// dx = factor rho (s G - w B / W - w xhat C / W), where `factor` is gamma times what batch
/// renormalization adds, per channel.
void differentiate(const GradientSumsView& sums, std::span<const double> count,
                   const ChannelAffine& normalization, std::span<const double> factor,
                   InputGradientAffine& result) noexcept;

/// The gradient through moments that are constants: dx = factor rho s G.
void differentiate_constant(const ChannelAffine& normalization, std::span<const double> factor,
                            InputGradientAffine& result) noexcept;

}  // namespace lockstep
