#include "layers/layer_properties.hpp"

#include <spdlog/fmt/fmt.h>

#include <optional>

#include "layers/json.hpp"
#include "layers/value_serializers.hpp"

namespace lockstep {
namespace {

// The options that a configuration holds, if it is one that holds options.
std::optional<Json> options_in(const std::string& configuration) {
  std::optional<Json> options;
  const auto failure = attempt([&] {
    const Json json = parsed(configuration, "");
    require_keys(json, "", {"type", "options"});
    const Json& found = required(json, "", "options");
    if (found.is_object()) options = found;
  });
  return failure ? std::nullopt : options;
}

void erase_what_differs_by_rank(Json& json) {
  if (json.is_object()) json.erase(differs_by_rank_key);
  if (json.is_structured())
    for (Json& element : json) erase_what_differs_by_rank(element);
}

}  // namespace

std::vector<Property> properties_of(const Layer& layer, std::string_view whose) {
  std::vector<Property> properties;
  const std::string configuration = layer.configuration();
  if (auto options = options_in(configuration)) {
    erase_what_differs_by_rank(*options);
    for (const auto& [name, value] : options->items())
      properties.push_back({fmt::format("option {}{}", name, whose), text_of(value, name)});
  } else {
    properties.push_back({fmt::format("configuration{}", whose), configuration});
  }
  properties.push_back({fmt::format("variables{}", whose), layer.variable_scope()});
  properties.push_back(
      {fmt::format("reuse{}", whose), layer.reuses_variables() ? "true" : "false"});
  properties.push_back(
      {fmt::format("trainable{}", whose), layer.is_trainable() ? "true" : "false"});
  properties.push_back({fmt::format("mode{}", whose), std::string(name_of(layer.mode()))});
  properties.push_back({fmt::format("dtype{}", whose), std::string(name_of(layer.dtype()))});
  return properties;
}

}  // namespace lockstep
