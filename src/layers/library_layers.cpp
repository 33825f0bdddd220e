#include "layers/library_layers.hpp"

#include <array>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "layers/option_fields.hpp"
#include "layers/value_serializers.hpp"
#include "lockstep/layers/average_pool2d.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/max_pool2d.hpp"

namespace lockstep {
namespace {

// The options of a layer with what became of them since.
template <class L>
std::string configuration_of(const L& layer) {
  auto options = layer.options();
  // In a scope of its own the layer's name holds that of the scope.
  bool has_own_scope = false;
  if constexpr (requires { options.scope; }) has_own_scope = !options.scope.name.empty();
  if (!has_own_scope) options.name = layer.name();
  if constexpr (requires { options.trainable; }) options.trainable = layer.is_trainable();
  if constexpr (requires { options.mode; }) options.mode = layer.mode();
  Json json;
  json["type"] = layer.type();
  json["options"] = json_of(options);
  return text_of(json, fmt::format("the configuration of layer '{}'", layer.name()));
}

// A derived class would lose what it adds.
template <class L>
std::unique_ptr<Layer> clone_of(const L& layer) {
  if (typeid(layer) != typeid(L))
    throw StateError(
        fmt::format("layer '{}' is of a class derived from {}, which needs a clone() of its own",
                    layer.name(), layer.type()));
  auto clone = std::make_unique<L>(layer.options());
  clone->rename(layer.name());
  clone->set_trainable(layer.is_trainable());
  clone->set_mode(layer.mode());
  return clone;
}

template <class L>
std::unique_ptr<Layer> make(std::string_view type, std::string_view options) {
  using Options = std::remove_cvref_t<decltype(std::declval<const L&>().options())>;
  const std::string where(type);
  return std::make_unique<L>(value_of<Options>(parsed(options, where), where));
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

}  // namespace lockstep
