// Names of layers among others.

#pragma once

#include <functional>
#include <string>

#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The layer's name, or one made from it that is free where the layer lets its container choose:
/// "dense_1"; "dense_reuse" for one that reuses the variables of another.
[[nodiscard]] std::string free_name_of(const Layer& layer,
                                       const std::function<bool(const std::string&)>& is_taken);

}  // namespace lockstep
