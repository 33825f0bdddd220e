// Layers from texts that hold their options, and back.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The layer, not built yet, of a text like those of Layer::configuration():
/// {"type": "Dense", "options": {"units": 3}}. Options that the text leaves out have their default
/// values. Throws ArgumentError, naming the place, for malformed text, a type that is not known, an
/// option that the type does not have, a value of the wrong type, and for functions, which no text
/// can hold.
[[nodiscard]] LOCKSTEP_EXPORT std::unique_ptr<Layer> layer_from_configuration(
    std::string_view configuration);

/// Makes a layer of the text of its options, the JSON object under "options".
using LayerFactory = std::function<std::unique_ptr<Layer>(std::string_view options)>;

/// Makes a type of the user's own known to layer_from_configuration(), in this process. Throws
/// ArgumentError for a type that is known already and without a factory.
LOCKSTEP_EXPORT void register_layer(const std::string& type, LayerFactory factory);

}  // namespace lockstep
