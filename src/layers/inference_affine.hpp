// What batch normalization does to its input in inference mode, as numbers.

#pragma once

#include "lockstep/layers/batch_normalization.hpp"
#include "norm/affine.hpp"

namespace lockstep {

/// From x to what the activation sees, per channel. The layer has variables, moving statistics
/// among them.
[[nodiscard]] ChannelAffine inference_affine_of(const BatchNormalization& layer);

}  // namespace lockstep
