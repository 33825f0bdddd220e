// The name of a layer in a model.

#pragma once

#include <functional>
#include <string>

#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The layer's name, or one made from it that is free where the layer lets the model choose.
[[nodiscard]] std::string name_in_model(const Layer& layer,
                                        const std::function<bool(const std::string&)>& is_taken);

}  // namespace lockstep
