#include "lockstep/model/synchronize.hpp"

#include <spdlog/fmt/fmt.h>

#include <string>
#include <vector>

#include "comm/agreement.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep {
namespace {

void add_layers_to_change(Layer& layer, bool is_synchronized,
                          std::vector<BatchNormalization*>& found) {
  if (auto* normalization = dynamic_cast<BatchNormalization*>(&layer);
      normalization != nullptr && normalization->options().synchronized != is_synchronized)
    found.push_back(normalization);
  for (const auto& inner : layer.inner_layers())
    add_layers_to_change(*inner, is_synchronized, found);
}

std::vector<BatchNormalization*> layers_to_change(Sequential& model, bool is_synchronized) {
  std::vector<BatchNormalization*> found;
  for (Layer* layer : model.layers()) add_layers_to_change(*layer, is_synchronized, found);
  return found;
}

int set_synchronized(Sequential& model, bool is_synchronized, const char* phase) {
  const auto layers = layers_to_change(model, is_synchronized);
  std::vector<Property> properties;
  std::vector<Communicator> groups;
  const auto failure = attempt([&] {
    for (const BatchNormalization* layer : layers) {
      properties.push_back({"layer", layer->name()});
      groups.push_back(layer->prepare_synchronized(is_synchronized));
    }
  });
  agree(model.strategy().replicas(), {fmt::format("model '{}'", model.name()), phase}, properties,
        failure);
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i]->finish_synchronized(is_synchronized, groups[i]);
  return static_cast<int>(layers.size());
}

}  // namespace

int synchronize_batch_normalization(Sequential& model) {
  return set_synchronized(model, true, "synchronize_batch_normalization");
}

int desynchronize_batch_normalization(Sequential& model) {
  return set_synchronized(model, false, "desynchronize_batch_normalization");
}

}  // namespace lockstep
