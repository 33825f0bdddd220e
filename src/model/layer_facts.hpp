// What a model says of a layer, for ranks to compare.

#pragma once

#include <cstddef>

#include "comm/agreement.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// What ranks compare of a layer. The number of values guards the broadcast against layers that do
/// not tell all their options.
[[nodiscard]] Property property_of(std::size_t position, Layer& layer, const Shape& output_shape);

}  // namespace lockstep
