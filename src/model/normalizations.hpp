// The batch normalizations of a model, wherever they are in it.

#pragma once

#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// The layer itself and those inside of it that normalize, in the order in which forward passes
/// through them.
[[nodiscard]] std::vector<BatchNormalization*> normalizations_in(Layer& layer);

/// Those of all layers.
[[nodiscard]] std::vector<BatchNormalization*> normalizations_of(Sequential& model);

}  // namespace lockstep
