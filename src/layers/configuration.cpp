#include "lockstep/layers/configuration.hpp"

#include <spdlog/fmt/fmt.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "layers/library_layers.hpp"
#include "layers/serializer.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// The factories of all types, those of the library from the start.
class Registry {
 public:
  Registry() {
    for (const auto& [type, make] : library_layers())
      factories_[std::string(type)] = std::bind_front(make, type);
  }

  void add(const std::string& type, LayerFactory factory) {
    const std::lock_guard lock(mutex_);
    if (!factories_.try_emplace(type, std::move(factory)).second)
      throw ArgumentError(fmt::format("the layer type '{}' is known already", type));
  }

  // A copy: a factory may ask for further layers.
  [[nodiscard]] LayerFactory factory_of(const std::string& type) const {
    const std::lock_guard lock(mutex_);
    if (const auto found = factories_.find(type); found != factories_.end()) return found->second;
    std::vector<std::string_view> known;
    for (const auto& [name, factory] : factories_) known.push_back(name);
    throw ArgumentError(
        fmt::format("there is no layer type '{}'; known are: {}; register_layer() adds others",
                    type, fmt::join(known, ", ")));
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, LayerFactory> factories_;
};

Registry& registry() {
  static Registry registry;
  return registry;
}

}  // namespace

std::unique_ptr<Layer> layer_from_configuration(std::string_view configuration) {
  const std::string where = "the configuration of a layer";
  const Json json = parsed(configuration, where);
  require_keys(json, where, {"type", "options"});
  const auto type = value_of<std::string>(required(json, where, "type"), where + ", type");
  const Json& options = required(json, where, "options");
  auto layer = registry().factory_of(type)(text_of(options, where));
  if (layer == nullptr || layer->type() != type)
    throw ArgumentError(fmt::format("the factory of the layer type '{}' made {}", type,
                                    layer == nullptr ? "nothing" : layer->type()));
  return layer;
}

void register_layer(const std::string& type, LayerFactory factory) {
  if (!factory) throw ArgumentError(fmt::format("the layer type '{}' has no factory", type));
  registry().add(type, std::move(factory));
}

std::unique_ptr<Layer> Layer::clone() const { return layer_from_configuration(configuration()); }

bool operator==(const Layer& a, const Layer& b) {
  return a.type() == b.type() && a.configuration() == b.configuration();
}

}  // namespace lockstep
