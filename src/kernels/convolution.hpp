// Convolution of images with filters on raw memory: patches times kernel, the reference for others.

#pragma once

#include <cstdint>

#include "kernels/patches.hpp"
#include "kernels/product.hpp"

namespace lockstep {

/// Images as in PatchGeometry, a kernel [window height, window width, channels, filters], and
/// results [positions, filters] or, where channels are first, [filters, positions] per image. The
/// kernel is not flipped (cross-correlation).
struct Convolution {
  PatchGeometry patches;  ///< of one image
  std::int64_t num_images;
  std::int64_t num_filters;

  friend bool operator==(const Convolution&, const Convolution&) = default;

  /// Of one image.
  [[nodiscard]] std::int64_t result_size() const { return patches.num_positions() * num_filters; }
};

/// Elements of the scratch memory `buffer` that the functions below need.
[[nodiscard]] std::int64_t buffer_size_of(const Convolution& convolution);

/// For float and double, as all of these.
template <class T>
void convolve(const Convolution& convolution, const T* images, const T* kernel, T* results,
              T* buffer);

/// Gradient of the kernel, summed over images.
template <class T>
void convolution_kernel_gradient(const Convolution& convolution, const T* images,
                                 const T* result_gradients, T* kernel_gradient, Result mode,
                                 T* buffer);

/// Gradient of the images.
template <class T>
void convolution_image_gradient(const Convolution& convolution, const T* kernel,
                                const T* result_gradients, T* image_gradients, T* buffer);

}  // namespace lockstep
