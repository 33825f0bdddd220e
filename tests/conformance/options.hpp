// From the options of a case to those of the layer.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep::conformance {

/// The layer's options for an object with Keras's names. What cannot be set is added to
/// `objections`. Null stands for the default, and as `momentum` for the average of all batches.
[[nodiscard]] BatchNormalizationOptions options_of(const nlohmann::json& options,
                                                   std::vector<std::string>& objections);

}  // namespace lockstep::conformance
