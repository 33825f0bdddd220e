#include "norm/affine.hpp"

#include <cmath>

#include "base/convert.hpp"

namespace lockstep {

void ChannelAffine::resize(std::size_t num_columns) {
  center.resize(num_columns);
  scale.resize(num_columns);
  shift.resize(num_columns);
}

void ChannelAffine::then(std::span<const double> factor, std::span<const double> offset) noexcept {
  for (std::size_t column = 0; column < scale.size(); ++column) {
    const std::size_t channel = column % factor.size();
    scale[column] *= factor[channel];
    shift[column] = shift[column] * factor[channel] + offset[channel];
  }
}

double inverse_stddev(double variance, double epsilon) noexcept {
  const double square = variance + epsilon;
  return square == 0.0 ? 0.0 : 1.0 / std::sqrt(square);
}

void normalize_by(Moments& moments, double epsilon, DType dtype, ChannelAffine& affine) noexcept {
  for (std::size_t c = 0; c < affine.scale.size(); ++c) {
    const double rho = moments.count[c] > 0.0 ? inverse_stddev(moments.variance[c], epsilon) : 0.0;
    const double mean = rounded_to(dtype, affine.center[c] + moments.offset[c]);
    if (std::isfinite(mean)) {
      moments.offset[c] -= mean - affine.center[c];
      affine.center[c] = mean;
    }
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

GradientSumsView gradient_sums_in(std::span<double> message, bool is_adjusted) noexcept {
  const std::size_t num_columns = message.size() / (is_adjusted ? 4 : 2);
  const auto part = [&](std::size_t i) { return message.subspan(i * num_columns, num_columns); };
  if (!is_adjusted) return {part(0), part(1), part(0), {}};
  return {part(0), part(1), part(2), part(3)};
}

void InputGradientAffine::resize(std::size_t num_columns) {
  a.resize(num_columns);
  p.resize(num_columns);
  q.resize(num_columns);
}

void differentiate(const GradientSumsView& sums, std::span<const double> count,
                   const ChannelAffine& normalization, std::span<const double> factor,
                   InputGradientAffine& result) noexcept {
  differentiate_constant(normalization, factor, result);
  for (std::size_t c = 0; c < count.size(); ++c) {
    if (!(count[c] > 0.0)) continue;
    // xhat = (x - center) * rho + shift, so its mean term splits over p and q.
    const double rho = normalization.scale[c];
    const double slope = sums.normalized[c] / count[c];
    result.p[c] = -result.a[c] * rho * slope;
    result.q[c] = -result.a[c] * (sums.adjusted[c] / count[c] + normalization.shift[c] * slope);
  }
}

void differentiate_constant(const ChannelAffine& normalization, std::span<const double> factor,
                            InputGradientAffine& result) noexcept {
  for (std::size_t c = 0; c < normalization.scale.size(); ++c) {
    result.a[c] = factor[c % factor.size()] * normalization.scale[c];
    result.p[c] = 0.0;
    result.q[c] = 0.0;
  }
}

}  // namespace lockstep
