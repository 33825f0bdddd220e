// What ranks compare of a layer that they are about to build.

#pragma once

#include <string_view>
#include <vector>

#include "comm/agreement.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// One property per option, "option units" followed by `whose`, without what configurations hold
/// under "differs_by_rank"; then where its variables are, "trainable"
/// and "dtype". A configuration that is not like those of
/// the library's layers is one property.
[[nodiscard]] std::vector<Property> properties_of(const Layer& layer, std::string_view whose = "");

}  // namespace lockstep
