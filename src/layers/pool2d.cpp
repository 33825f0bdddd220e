#include "layers/pool2d.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "layers/window.hpp"

namespace lockstep {
namespace {

Window window_of(const Pool2DOptions& options, const ImageExtents& images) {
  return window_of(images, "pool_size", options.pool_size,
                   options.strides.value_or(options.pool_size), options.padding);
}

}  // namespace

Pooling pooling_of(const Pool2DOptions& options, const Shape& input_shape) {
  const ImageExtents images = image_extents_of(input_shape, options.data_format);
  const Window window = window_of(options, images);
  if (options.data_format == DataFormat::nhwc) return {window, images.samples, images.channels};
  return {window, images.samples * images.channels, 1};
}

Pool2D::Pool2D(std::string type, Pool2DOptions options)
    : Layer({.type = std::move(type),
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape Pool2D::output_shape(const Shape& input_shape) const {
  const ImageExtents images = image_extents_of(input_shape, options_.data_format);
  const Window window = window_of(options_, images);
  return shape_of(
      {images.samples, window.vertical.output, window.horizontal.output, images.channels},
      options_.data_format);
}

void Pool2D::do_create(const Shape& input_shape) {
  static_cast<void>(output_shape(input_shape));  // judges options and shape
}

}  // namespace lockstep
