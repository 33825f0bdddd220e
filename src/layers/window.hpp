// From shapes and options to windows that move over images.

#pragma once

#include <cstdint>
#include <string>

#include "kernels/window.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/layers/data_format.hpp"

namespace lockstep {

/// Extents of a batch of images whatever the order of its axes.
struct ImageExtents {
  std::int64_t samples;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
};

/// Throws ArgumentError unless the shape has four axes and no image is empty.
[[nodiscard]] ImageExtents image_extents_of(const Shape& shape, DataFormat data_format);
[[nodiscard]] Shape shape_of(const ImageExtents& extents, DataFormat data_format);

/// The window of `size` on such images, padded as TensorFlow does. `size_name` is the option's, for
/// errors. Throws ArgumentError on extents or strides below 1 and on a window with nowhere to go.
[[nodiscard]] Window window_of(const ImageExtents& images, const char* size_name,
                               const Size2D& size, const Size2D& strides, Padding padding);

/// "[3, 2]".
[[nodiscard]] std::string to_string(const Size2D& size);

}  // namespace lockstep
