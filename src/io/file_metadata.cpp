#include "io/file_metadata.hpp"

#include <map>

#include "io/weight_names.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/base/version.hpp"

namespace lockstep {
namespace {

constexpr const char* names_key = "lockstep.names";

std::optional<std::string> find(const std::map<std::string, std::string>& metadata,
                                const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  return found->second;
}

// Layers of the user's own may have none that could be written down.
std::string configuration_of(const Sequential& model) {
  try {
    return model.configuration();
  } catch (const ArgumentError&) {
    return "";
  }
}

}  // namespace

void describe(const Sequential& model, const char* kind, WeightNames names, TensorFile& content) {
  content.metadata[kind_key] = kind;
  content.metadata[names_key] = name_of(names);
  content.metadata["lockstep.version"] = LOCKSTEP_VERSION;
  content.metadata["lockstep.model"] = configuration_of(model);
  content.metadata["lockstep.momentum"] = "weight of the old value";
  content.metadata["lockstep.moving_variance"] = "biased unless the layer's options say otherwise";
}

std::optional<std::string> kind_of(const TensorFile& content) {
  return find(content.metadata, kind_key);
}

std::optional<std::string> kind_of(const SafetensorsHeader& header) {
  return find(header.metadata, kind_key);
}

WeightNames names_in(const TensorFile& content, WeightNames default_names) {
  const auto text = find(content.metadata, names_key);
  return text ? weight_names_of(*text) : default_names;
}

}  // namespace lockstep
