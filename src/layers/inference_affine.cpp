#include "layers/inference_affine.hpp"

#include <vector>

#include "base/convert.hpp"
#include "layers/batch_normalization_parts.hpp"

namespace lockstep {

ChannelAffine inference_affine_of(const BatchNormalization& layer) {
  const BatchNormalization::Parts& parts = *layer.parts_;
  const MovingVariables& moving = parts.moving->variables();
  ChannelAffine affine;
  affine.resize(parts.num_channels);
  std::vector<double> variance(parts.num_channels);
  read_as_double(moving.mean->value(), affine.center);
  read_as_double(moving.variance->value(), variance);
  normalize_by_constants(variance, epsilon_of(layer.options(), parts.is_fused), affine);

  std::vector<double> factor(parts.num_channels, 1.0), offset(parts.num_channels, 0.0);
  if (parts.gamma != nullptr) read_as_double(parts.gamma->value(), factor);
  if (parts.beta != nullptr) read_as_double(parts.beta->value(), offset);
  affine.then(factor, offset);
  return affine;
}

}  // namespace lockstep
