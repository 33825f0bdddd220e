// What a model says of a layer: its name there, and what ranks compare of it.

#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "comm/agreement.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The layer's name, or one made from it that is free where the layer lets the model choose.
[[nodiscard]] std::string name_in_model(const Layer& layer,
                                        const std::function<bool(const std::string&)>& is_taken);

/// What ranks compare of a layer. The number of values guards the broadcast against layers that do
/// not tell all their options.
[[nodiscard]] Property property_of(std::size_t position, Layer& layer, const Shape& output_shape);

}  // namespace lockstep
