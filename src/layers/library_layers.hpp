// The layer types that the library has.

#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "lockstep/layers/layer.hpp"

namespace lockstep {

struct LibraryLayer {
  std::string_view type;
  /// The layer of the text of its options; `type` is for errors.
  std::unique_ptr<Layer> (*make)(std::string_view type, std::string_view options);
};

[[nodiscard]] std::span<const LibraryLayer> library_layers() noexcept;

}  // namespace lockstep
