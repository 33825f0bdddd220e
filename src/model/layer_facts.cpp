#include "model/layer_facts.hpp"

#include <spdlog/fmt/fmt.h>

#include "model/summary.hpp"

namespace lockstep {

Property property_of(std::size_t position, Layer& layer, const Shape& output_shape) {
  std::int64_t num_values = 0;
  for (const Variable* variable : layer.variables()) num_values += variable->num_elements();
  return {fmt::format("layer {}", position),
          fmt::format("{} '{}' ({}), {}, {} to {}, {} values {} '{}'", layer.type(), layer.name(),
                      layer.configuration(), layer.is_trainable() ? "trainable" : "frozen",
                      name_of(layer.dtype()), batch_text_of(output_shape), num_values,
                      layer.reuses_variables() ? "shared from" : "of", layer.variable_scope())};
}

}  // namespace lockstep
