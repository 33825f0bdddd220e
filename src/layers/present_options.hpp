// The options of a layer as they would have to be given now.

#pragma once

#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// The options of a layer with what became of them since, but for its name.
template <class L>
[[nodiscard]] auto present_options_of(const L& layer) {
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

}  // namespace lockstep
