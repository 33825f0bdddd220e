// Batches of images: the order of their axes, and windows at their edges.

#pragma once

#include <cstdint>
#include <string_view>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Order of the axes of a batch of images.
enum class DataFormat : std::uint8_t {
  nhwc,  ///< [samples, height, width, channels]
  nchw,  ///< [samples, channels, height, width]
};

/// Where a window that moves over an image may lie.
enum class Padding : std::uint8_t {
  valid,  ///< inside the image: floor((extent - size) / stride) + 1 positions
  same,   ///< ceil(extent / stride) positions, centred; an odd element outside is at the end
};

/// A size or a step along the two spatial axes.
struct Size2D {
  std::int64_t height = 1;
  std::int64_t width = 1;
};

/// "nhwc".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(DataFormat data_format) noexcept;
/// "same".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(Padding padding) noexcept;

}  // namespace lockstep
