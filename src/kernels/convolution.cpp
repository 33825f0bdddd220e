#include "kernels/convolution.hpp"

#include <algorithm>

namespace lockstep {
namespace {

// Images whose patches are multiplied at once: as many as stay in cache. With channels first the
// filters separate the images in the results, so that every image is a product of its own.
std::int64_t images_per_product(const Convolution& convolution) {
  constexpr std::int64_t num_elements_in_cache = std::int64_t{1} << 18;
  if (convolution.patches.order == ChannelOrder::first) return 1;
  return std::clamp<std::int64_t>(num_elements_in_cache / convolution.patches.patches_size(), 1,
                                  std::max<std::int64_t>(convolution.num_images, 1));
}

// Calls visit(first, count) for every group of images.
template <class Visit>
void for_each_group(const Convolution& convolution, Visit&& visit) {
  const std::int64_t size = images_per_product(convolution);
  for (std::int64_t first = 0; first < convolution.num_images; first += size)
    visit(first, std::min(size, convolution.num_images - first));
}

// The matrix [rows, columns] of a group of images; it is stored transposed with channels first.
template <class T>
MatrixView<T> matrix_of(ChannelOrder order, const T* data, std::int64_t rows,
                        std::int64_t columns) {
  if (order == ChannelOrder::last) return {data, rows, columns};
  return {data, columns, rows, true};
}

// result = a b for a result that is stored as such a matrix.
template <class T>
void multiply(ChannelOrder order, const MatrixView<T>& a, const MatrixView<T>& b, T* result) {
  if (order == ChannelOrder::last)
    product(a, b, result);
  else
    product(transposed(b), transposed(a), result);
}

// [positions of all images, elements], in `buffer` unless the images are their own patches.
template <class T>
MatrixView<T> patches_of(const PatchGeometry& geometry, const T* images, std::int64_t count,
                         T* buffer) {
  if (!geometry.are_identity())
    for (std::int64_t i = 0; i < count; ++i)
      gather_patches(geometry, images + i * geometry.image_size(),
                     buffer + i * geometry.patches_size());
  const T* const data = geometry.are_identity() ? images : buffer;
  return matrix_of(geometry.order, data, count * geometry.num_positions(), geometry.num_elements());
}

// [positions of all images, filters]
template <class T>
MatrixView<T> results_of(const Convolution& convolution, const T* results, std::int64_t count) {
  return matrix_of(convolution.patches.order, results, count * convolution.patches.num_positions(),
                   convolution.num_filters);
}

// [elements, filters]
template <class T>
MatrixView<T> filters_of(const Convolution& convolution, const T* kernel) {
  return {kernel, convolution.patches.num_elements(), convolution.num_filters};
}

}  // namespace

std::int64_t buffer_size_of(const Convolution& convolution) {
  if (convolution.patches.are_identity()) return 0;
  return images_per_product(convolution) * convolution.patches.patches_size();
}

template <class T>
void convolve(const Convolution& convolution, const T* images, const T* kernel, T* results,
              T* buffer) {
  const PatchGeometry& geometry = convolution.patches;
  for_each_group(convolution, [&](std::int64_t first, std::int64_t count) {
    multiply(geometry.order,
             patches_of(geometry, images + first * geometry.image_size(), count, buffer),
             filters_of(convolution, kernel), results + first * convolution.result_size());
  });
}

template <class T>
void convolution_kernel_gradient(const Convolution& convolution, const T* images,
                                 const T* result_gradients, T* kernel_gradient, Result mode,
                                 T* buffer) {
  const PatchGeometry& geometry = convolution.patches;
  if (mode == Result::overwrite)
    std::fill_n(kernel_gradient, geometry.num_elements() * convolution.num_filters, T{0});
  for_each_group(convolution, [&](std::int64_t first, std::int64_t count) {
    product(transposed(patches_of(geometry, images + first * geometry.image_size(), count, buffer)),
            results_of(convolution, result_gradients + first * convolution.result_size(), count),
            kernel_gradient, Result::accumulate);
  });
}

template <class T>
void convolution_image_gradient(const Convolution& convolution, const T* kernel,
                                const T* result_gradients, T* image_gradients, T* buffer) {
  const PatchGeometry& geometry = convolution.patches;
  for_each_group(convolution, [&](std::int64_t first, std::int64_t count) {
    T* const images = image_gradients + first * geometry.image_size();
    T* const patches = geometry.are_identity() ? images : buffer;
    multiply(geometry.order,
             results_of(convolution, result_gradients + first * convolution.result_size(), count),
             transposed(filters_of(convolution, kernel)), patches);
    if (geometry.are_identity()) return;
    std::fill_n(images, count * geometry.image_size(), T{0});
    for (std::int64_t i = 0; i < count; ++i)
      scatter_patches(geometry, patches + i * geometry.patches_size(),
                      images + i * geometry.image_size());
  });
}

template void convolve(const Convolution&, const float*, const float*, float*, float*);
template void convolve(const Convolution&, const double*, const double*, double*, double*);
template void convolution_kernel_gradient(const Convolution&, const float*, const float*, float*,
                                          Result, float*);
template void convolution_kernel_gradient(const Convolution&, const double*, const double*, double*,
                                          Result, double*);
template void convolution_image_gradient(const Convolution&, const float*, const float*, float*,
                                         float*);
template void convolution_image_gradient(const Convolution&, const double*, const double*, double*,
                                         double*);

}  // namespace lockstep
