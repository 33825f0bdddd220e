// What the library's own files say about themselves.

#pragma once

#include <optional>
#include <string>

#include "lockstep/io/safetensors.hpp"
#include "lockstep/io/weights.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

inline constexpr const char* kind_key = "lockstep.kind";
inline constexpr const char* weights_kind = "weights";
inline constexpr const char* checkpoint_kind = "checkpoint";

/// Version, configuration and conventions.
void describe(const Sequential& model, const char* kind, WeightNames names, TensorFile& content);

/// Empty for a file of others.
[[nodiscard]] std::optional<std::string> kind_of(const TensorFile& content);
[[nodiscard]] std::optional<std::string> kind_of(const SafetensorsHeader& header);

/// `default_names` for a file of others.
[[nodiscard]] WeightNames names_in(const TensorFile& content, WeightNames default_names);

}  // namespace lockstep
