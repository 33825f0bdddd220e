// Patches of images as matrices, so that a convolution is a product.

#pragma once

#include <cstdint>

#include "kernels/window.hpp"

namespace lockstep {

/// Which axis is contiguous in memory.
enum class ChannelOrder : std::uint8_t {
  last,   ///< images [height, width, channels], patches [positions, elements]
  first,  ///< images [channels, height, width], patches [elements, positions]
};

/// The patches of one image: one for every position of the window, row by row. Its elements are
/// [window height, window width, channels], as in the kernel of a convolution.
struct PatchGeometry {
  Window window;
  std::int64_t channels;
  ChannelOrder order;

  friend bool operator==(const PatchGeometry&, const PatchGeometry&) = default;

  [[nodiscard]] std::int64_t num_positions() const {
    return window.vertical.output * window.horizontal.output;
  }
  /// Of one patch.
  [[nodiscard]] std::int64_t num_elements() const {
    return window.vertical.size * window.horizontal.size * channels;
  }
  [[nodiscard]] std::int64_t image_size() const {
    return window.vertical.input * window.horizontal.input * channels;
  }
  [[nodiscard]] std::int64_t patches_size() const { return num_positions() * num_elements(); }
  /// True when the patches are the image itself.
  [[nodiscard]] bool are_identity() const {
    return is_identity(window.vertical) && is_identity(window.horizontal);
  }
};

/// Copies the patches of `image`, with 0 outside of it. For float and double.
template <class T>
void gather_patches(const PatchGeometry& geometry, const T* image, T* patches);

/// The adjoint: adds every element of the patches to the pixel it came from.
template <class T>
void scatter_patches(const PatchGeometry& geometry, const T* patches, T* image);

}  // namespace lockstep
