#include "model/model_properties.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>

#include "layers/layer_properties.hpp"

namespace lockstep {

std::vector<Property> properties_of(const SequentialOptions& options, const Shape& sample_shape,
                                    std::span<const SummaryRow> rows) {
  std::vector<Property> properties{{"dtype", std::string(name_of(options.dtype))},
                                   {"seed", std::to_string(options.seed)},
                                   {"sample shape", to_string(sample_shape)},
                                   {"number of layers", std::to_string(rows.size())}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [layer, output_shape] = rows[i];
    const std::string whose = fmt::format(" of layer '{}'", layer->name());
    properties.push_back(
        {fmt::format("layer {}", i), fmt::format("{} '{}'", layer->type(), layer->name())});
    std::ranges::move(properties_of(*layer, whose), std::back_inserter(properties));
    properties.push_back({"output shape" + whose, batch_text_of(output_shape)});
    // Guards the broadcast against layers that do not tell all their options.
    std::int64_t num_values = 0;
    for (const Variable* variable : layer->variables()) num_values += variable->num_elements();
    properties.push_back({"number of values" + whose, std::to_string(num_values)});
  }
  return properties;
}

}  // namespace lockstep
