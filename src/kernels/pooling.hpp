// Pooling of images on raw memory.

#pragma once

#include <cstdint>

#include "kernels/window.hpp"

namespace lockstep {

/// Dense images [height, width, channels], each channel pooled by itself. Tensors with channels in
/// front are num_images * channels images of one channel.
struct Pooling {
  Window window;
  std::int64_t num_images;
  std::int64_t channels;
};

/// The largest value under the window, NaN if there is one. For float and double, as all of these.
template <class T>
void max_pool(const Pooling& pooling, const T* images, T* results);

/// Gives every gradient to the first largest value under its window, row by row.
template <class T>
void max_pool_gradient(const Pooling& pooling, const T* images, const T* result_gradients,
                       T* image_gradients);

/// The mean of the values under the window; what lies outside of the image does not count.
template <class T>
void average_pool(const Pooling& pooling, const T* images, T* results);

template <class T>
void average_pool_gradient(const Pooling& pooling, const T* result_gradients, T* image_gradients);

}  // namespace lockstep
