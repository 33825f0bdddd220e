#include "layers/window.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void require_positive(const char* name, const Size2D& size) {
  if (size.height < 1 || size.width < 1)
    throw ArgumentError(
        fmt::format("expected {} of at least [1, 1], got {}", name, to_string(size)));
}

// Elements outside of the input are shared out as in
// https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
WindowAxis window_axis_of(std::int64_t extent, std::int64_t size, std::int64_t stride,
                          Padding padding) {
  if (padding == Padding::valid)
    return {extent, ceil_quotient(extent - size + 1, stride), size, stride, 0};
  const std::int64_t output = ceil_quotient(extent, stride);
  const std::int64_t overhang = (output - 1) * stride - extent + size;
  return {extent, output, size, stride, std::max<std::int64_t>(overhang, 0) / 2};
}

}  // namespace

ImageExtents image_extents_of(const Shape& shape, DataFormat data_format) {
  const bool is_nhwc = data_format == DataFormat::nhwc;
  const bool fits = shape.rank() == 4 && shape[0] >= 0 && shape.is_valid() &&
                    std::all_of(shape.begin() + 1, shape.end(), [](auto e) { return e >= 1; });
  if (!fits)
    throw ArgumentError(fmt::format(
        "expected images {} of at least one row, column and channel, got the shape {}",
        is_nhwc ? "[samples, height, width, channels]" : "[samples, channels, height, width]",
        to_string(shape)));
  if (is_nhwc) return {shape[0], shape[1], shape[2], shape[3]};
  return {shape[0], shape[2], shape[3], shape[1]};
}

Shape shape_of(const ImageExtents& extents, DataFormat data_format) {
  if (data_format == DataFormat::nhwc)
    return {extents.samples, extents.height, extents.width, extents.channels};
  return {extents.samples, extents.channels, extents.height, extents.width};
}

Window window_of(const ImageExtents& images, const char* size_name, const Size2D& size,
                 const Size2D& strides, Padding padding) {
  require_positive(size_name, size);
  require_positive("strides", strides);
  if (padding == Padding::valid && (size.height > images.height || size.width > images.width))
    throw ArgumentError(
        fmt::format("expected a {} within the image of {} (or padding same), got {}", size_name,
                    to_string(Size2D{images.height, images.width}), to_string(size)));
  return {window_axis_of(images.height, size.height, strides.height, padding),
          window_axis_of(images.width, size.width, strides.width, padding)};
}

std::string to_string(const Size2D& size) {
  return fmt::format("[{}, {}]", size.height, size.width);
}

}  // namespace lockstep
