#include "lockstep/model/synchronize.hpp"

#include <spdlog/fmt/fmt.h>

#include <string>
#include <vector>

#include "comm/agreement.hpp"
#include "model/normalizations.hpp"

namespace lockstep {
namespace {

std::vector<BatchNormalization*> layers_to_change(Sequential& model, bool is_synchronized) {
  std::vector<BatchNormalization*> layers = normalizations_of(model);
  std::erase_if(layers, [&](const BatchNormalization* layer) {
    return layer->options().synchronized == is_synchronized;
  });
  return layers;
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
