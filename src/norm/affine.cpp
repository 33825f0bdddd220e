#include "norm/affine.hpp"

#include <cmath>

namespace lockstep {

void ChannelAffine::resize(std::size_t num_channels) {
  center.resize(num_channels);
  scale.resize(num_channels);
  shift.resize(num_channels);
}

void ChannelAffine::then(std::span<const double> factor, std::span<const double> offset) noexcept {
  for (std::size_t c = 0; c < scale.size(); ++c) {
    scale[c] *= factor[c];
    shift[c] = shift[c] * factor[c] + offset[c];
  }
}

double inverse_stddev(double variance, double epsilon) noexcept {
  const double square = variance + epsilon;
  return square == 0.0 ? 0.0 : 1.0 / std::sqrt(square);
}

void normalize_by(const Moments& moments, double epsilon, ChannelAffine& affine) noexcept {
  for (std::size_t c = 0; c < affine.scale.size(); ++c) {
    const double rho = moments.count > 0.0 ? inverse_stddev(moments.variance[c], epsilon) : 0.0;
    affine.scale[c] = rho;
    affine.shift[c] = -moments.offset[c] * rho;
  }
}

void normalize_by_constants(std::span<const double> variance, double epsilon,
                            ChannelAffine& affine) noexcept {
  for (std::size_t c = 0; c < variance.size(); ++c) {
    affine.scale[c] = inverse_stddev(variance[c], epsilon);
    affine.shift[c] = 0.0;
  }
}

GradientSumsView gradient_sums_in(std::span<double> message) noexcept {
  const std::size_t num_channels = message.size() / 2;
  return {message.first(num_channels), message.last(num_channels)};
}

void InputGradientAffine::resize(std::size_t num_channels) {
  a.resize(num_channels);
  p.resize(num_channels);
  q.resize(num_channels);
}

void differentiate(const GradientSumsView& sums, double count, const ChannelAffine& normalization,
                   std::span<const double> gamma, InputGradientAffine& result) noexcept {
  differentiate_constant(normalization, gamma, result);
  if (!(count > 0.0)) return;
  for (std::size_t c = 0; c < gamma.size(); ++c) {
    // xhat = (x - center) * rho + shift, so its mean term splits over p and q.
    const double rho = normalization.scale[c];
    const double slope = sums.normalized[c] / count;
    result.p[c] = -result.a[c] * rho * slope;
    result.q[c] = -result.a[c] * (sums.output[c] / count + normalization.shift[c] * slope);
  }
}

void differentiate_constant(const ChannelAffine& normalization, std::span<const double> gamma,
                            InputGradientAffine& result) noexcept {
  for (std::size_t c = 0; c < gamma.size(); ++c) {
    result.a[c] = gamma[c] * normalization.scale[c];
    result.p[c] = 0.0;
    result.q[c] = 0.0;
  }
}

}  // namespace lockstep
