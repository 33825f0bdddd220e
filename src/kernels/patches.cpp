#include "kernels/patches.hpp"

#include <algorithm>

namespace lockstep {
namespace {

// Steps in memory, in elements.
struct Strides {
  std::int64_t row;
  std::int64_t column;
  std::int64_t channel;
  std::int64_t position;
  std::int64_t element;
};

Strides strides_of(const PatchGeometry& geometry) {
  const std::int64_t width = geometry.window.horizontal.input;
  if (geometry.order == ChannelOrder::last)
    return {.row = width * geometry.channels,
            .column = geometry.channels,
            .channel = 1,
            .position = geometry.num_elements(),
            .element = 1};
  return {.row = width,
          .column = 1,
          .channel = geometry.window.vertical.input * width,
          .position = 1,
          .element = geometry.num_positions()};
}

// One of the two loops over a block of values that image and patches share.
struct Loop {
  std::int64_t count;
  std::int64_t image_stride;
  std::int64_t patches_stride;
};

// Calls move(pixel, element) for every element of the patches that lies in the image. Gathering and
// scattering are adjoint because both walk this way.
template <class Pixel, class Element, class Move>
void for_each_element(const PatchGeometry& geometry, Pixel* image, Element* patches, Move&& move) {
  const WindowAxis& vertical = geometry.window.vertical;
  const WindowAxis& horizontal = geometry.window.horizontal;
  const Strides strides = strides_of(geometry);
  const bool channels_are_inner = geometry.order == ChannelOrder::last;
  const Loop channels{geometry.channels, strides.channel, strides.element};

  for (std::int64_t y = 0; y < vertical.output; ++y) {
    const Interval rows = covered_at(vertical, y);
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      const std::int64_t window_row = row - (y * vertical.stride - vertical.padding);
      for (std::int64_t window_column = 0; window_column < horizontal.size; ++window_column) {
        const Interval positions = positions_inside(horizontal, window_column);
        const Loop columns{positions.last - positions.first, horizontal.stride * strides.column,
                           strides.position};
        const std::int64_t first_column =
            positions.first * horizontal.stride - horizontal.padding + window_column;
        const std::int64_t element =
            (window_row * horizontal.size + window_column) * geometry.channels;
        Pixel* const pixels = image + row * strides.row + first_column * strides.column;
        Element* const elements = patches +
                                  (y * horizontal.output + positions.first) * strides.position +
                                  element * strides.element;
        const Loop& outer = channels_are_inner ? columns : channels;
        const Loop& inner = channels_are_inner ? channels : columns;
        for (std::int64_t i = 0; i < outer.count; ++i)
          for (std::int64_t j = 0; j < inner.count; ++j)
            move(pixels[i * outer.image_stride + j * inner.image_stride],
                 elements[i * outer.patches_stride + j * inner.patches_stride]);
      }
    }
  }
}

}  // namespace

template <class T>
void gather_patches(const PatchGeometry& geometry, const T* image, T* patches) {
  if (!is_inside(geometry.window.vertical) || !is_inside(geometry.window.horizontal))
    std::fill_n(patches, geometry.patches_size(), T{0});
  for_each_element(geometry, image, patches, [](const T& pixel, T& element) { element = pixel; });
}

template <class T>
void scatter_patches(const PatchGeometry& geometry, const T* patches, T* image) {
  for_each_element(geometry, image, patches, [](T& pixel, const T& element) { pixel += element; });
}

template void gather_patches(const PatchGeometry&, const float*, float*);
template void gather_patches(const PatchGeometry&, const double*, double*);
template void scatter_patches(const PatchGeometry&, const float*, float*);
template void scatter_patches(const PatchGeometry&, const double*, double*);

}  // namespace lockstep
