#include "layers/library_layers.hpp"

#include <array>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "comm/failure.hpp"
#include "layers/option_fields.hpp"
#include "layers/value_serializers.hpp"
#include "lockstep/layers/average_pool2d.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/configuration.hpp"
#include "lockstep/layers/max_pool2d.hpp"

namespace lockstep {
namespace {

// The options of a layer with what became of them since, but for its name.
template <class L>
auto present_options_of(const L& layer) {
  auto options = layer.options();
  if constexpr (requires { options.trainable; }) options.trainable = layer.is_trainable();
  if constexpr (requires { options.mode; }) options.mode = layer.mode();
  if constexpr (requires { options.normalizer; }) {
    if (options.normalizer) {
      options.normalizer->momentum = layer.normalizer().options().momentum;
      options.normalizer->synchronized = layer.normalizer().options().synchronized;
      options.normalizer->trainable = layer.normalizer().is_trainable();
    }
  }
  return options;
}

template <class L>
Json options_json_of(const L& layer) {
  auto options = present_options_of(layer);
  // In a scope of its own the layer's name holds that of the scope.
  bool has_own_scope = false;
  if constexpr (requires { options.scope; }) has_own_scope = !options.scope.name.empty();
  if (!has_own_scope) options.name = layer.name();
  return json_of(options);
}

std::string configuration_text_of(const Layer& layer, Json options) {
  Json json;
  json["type"] = layer.type();
  json["options"] = std::move(options);
  return text_of(json, fmt::format("the configuration of layer '{}'", layer.name()));
}

template <class L>
std::string configuration_of(const L& layer) {
  return configuration_text_of(layer, options_json_of(layer));
}

// A derived class would lose what it adds.
template <class L>
std::unique_ptr<L> clone_of(const L& layer) {
  if (typeid(layer) != typeid(L))
    throw StateError(
        fmt::format("layer '{}' is of a class derived from {}, which needs a clone() of its own",
                    layer.name(), layer.type()));
  auto clone = std::make_unique<L>(present_options_of(layer));
  clone->rename(layer.name());
  if (clone->is_trainable() != layer.is_trainable()) clone->set_trainable(layer.is_trainable());
  clone->set_mode(layer.mode());
  return clone;
}

template <class L>
std::unique_ptr<Layer> make(std::string_view type, std::string_view options) {
  using Options = std::remove_cvref_t<decltype(std::declval<const L&>().options())>;
  const std::string where(type);
  return std::make_unique<L>(value_of<Options>(parsed(options, where), where));
}

// Text that is no JSON, of a layer of the user's own, stays text.
Json branch_json_of(std::span<const std::unique_ptr<Layer>> layers) {
  Json branch = Json::array();
  for (const auto& layer : layers) {
    Json json = layer->configuration();
    const auto failure = attempt([&] { json = parsed(json.get<std::string>(), ""); });
    branch.push_back(std::move(json));
  }
  return branch;
}

std::unique_ptr<Layer> make_residual(std::string_view type, std::string_view text) {
  const std::string where(type);
  Json options = parsed(text, where);
  if (!options.is_object()) refuse(where, "an object", options);
  const auto taken = [&](const char* branch) {
    Json layers = Json::array();
    if (const auto found = options.find(branch); found != options.end()) {
      layers = *found;
      options.erase(found);
    }
    if (!layers.is_array()) refuse(fmt::format("{}.{}", where, branch), "a list", layers);
    return layers;
  };
  const Json main = taken("main"), shortcut = taken("shortcut");
  auto block = std::make_unique<Residual>(value_of<ResidualOptions>(options, where));
  const auto read = [&](const Json& layers, const char* branch, auto&& add) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto failure =
          attempt([&] { add(layer_from_configuration(text_of(layers[i], where))); });
      if (failure)
        throw_error(failure->code, fmt::format("{}.{}[{}]: {}", where, branch, i, failure->cause));
    }
  };
  read(main, "main", [&](auto layer) { block->add_main(std::move(layer)); });
  read(shortcut, "shortcut", [&](auto layer) { block->add_shortcut(std::move(layer)); });
  return block;
}

}  // namespace

std::span<const LibraryLayer> library_layers() noexcept {
  static constexpr std::array layers{
      LibraryLayer{"Activation", make<Activation>},
      LibraryLayer{"AveragePool2D", make<AveragePool2D>},
      LibraryLayer{"BatchNormalization", make<BatchNormalization>},
      LibraryLayer{"Conv2D", make<Conv2D>},
      LibraryLayer{"Dense", make<Dense>},
      LibraryLayer{"Dropout", make<Dropout>},
      LibraryLayer{"Flatten", make<Flatten>},
      LibraryLayer{"GlobalAveragePool", make<GlobalAveragePool>},
      LibraryLayer{"MaxPool2D", make<MaxPool2D>},
      LibraryLayer{"Residual", make_residual},
      LibraryLayer{"Softmax", make<Softmax>},
  };
  return layers;
}

std::string Activation::configuration() const { return configuration_of(*this); }
std::string BatchNormalization::configuration() const { return configuration_of(*this); }
std::string Conv2D::configuration() const { return configuration_of(*this); }
std::string Dense::configuration() const { return configuration_of(*this); }
std::string Dropout::configuration() const { return configuration_of(*this); }
std::string Flatten::configuration() const { return configuration_of(*this); }
std::string GlobalAveragePool::configuration() const { return configuration_of(*this); }
std::string Pool2D::configuration() const { return configuration_of(*this); }
std::string Softmax::configuration() const { return configuration_of(*this); }

std::string Residual::configuration() const {
  Json options = options_json_of(*this);
  options["main"] = branch_json_of(main_layers());
  options["shortcut"] = branch_json_of(shortcut_layers());
  return configuration_text_of(*this, std::move(options));
}

std::unique_ptr<Layer> Activation::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> AveragePool2D::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> BatchNormalization::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> Conv2D::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> Dense::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> Dropout::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> Flatten::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> GlobalAveragePool::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> MaxPool2D::clone() const { return clone_of(*this); }
std::unique_ptr<Layer> Softmax::clone() const { return clone_of(*this); }

std::unique_ptr<Layer> Residual::clone() const {
  std::unique_ptr<Residual> block = clone_of(*this);
  for (const auto& layer : main_layers()) block->add_main(layer->clone());
  for (const auto& layer : shortcut_layers()) block->add_shortcut(layer->clone());
  return block;
}

}  // namespace lockstep
