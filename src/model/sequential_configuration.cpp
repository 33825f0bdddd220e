// Models as texts and copies of them.

#include <spdlog/fmt/fmt.h>

#include <string>
#include <utility>

#include "comm/failure.hpp"
#include "layers/value_serializers.hpp"
#include "lockstep/layers/configuration.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

void for_each_field(Of<SequentialOptions> auto& options, auto&& field) {
  field("dtype", options.dtype);
  field("seed", options.seed);
  field("name", options.name);
}

std::string Sequential::configuration() const {
  const std::string what = fmt::format("the configuration of model '{}'", name());
  Json json;
  json["type"] = "Sequential";
  json["options"] = json_of(options_);
  json["layers"] = Json::array();
  for (const Layer* layer : layers())
    json["layers"].push_back(
        parsed(layer->configuration(),
               fmt::format("{}: the configuration of layer '{}'", what, layer->name())));
  return text_of(json, what);
}

Sequential Sequential::clone() const {
  Sequential copy(options_, strategy_);
  for (const Layer* layer : layers()) copy.add(layer->clone());
  return copy;
}

Sequential sequential_from_configuration(std::string_view configuration, Strategy strategy) {
  const std::string where = "the configuration of a model";
  const Json json = parsed(configuration, where);
  require_keys(json, where, {"type", "options", "layers"});
  const Json& type = required(json, where, "type");
  if (type != "Sequential") refuse(where + ", type", "\"Sequential\"", type);
  Sequential model(value_of<SequentialOptions>(required(json, where, "options"), "Sequential"),
                   std::move(strategy));
  const Json& layers = required(json, where, "layers");
  if (!layers.is_array()) refuse(where + ", layers", "a list", layers);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto failure =
        attempt([&] { model.add(layer_from_configuration(text_of(layers[i], where))); });
    if (failure) throw_error(failure->code, fmt::format("layer {}: {}", i, failure->cause));
  }
  return model;
}

bool operator==(const Sequential& a, const Sequential& b) {
  return a.configuration() == b.configuration();
}

}  // namespace lockstep
