#include "kernels/convolver.hpp"

#include <type_traits>

#include "base/arena.hpp"
#include "kernels/channels.hpp"

namespace lockstep {

namespace {

// Of the reference: patches of some images.
template <class T>
T* buffer_for(const Convolution& convolution, Scratch& scratch) {
  return scratch.take({buffer_size_of(convolution)}, dtype_of<T>()).template values<T>().data();
}

}  // namespace

template <class T>
void Convolver::convolve(const Convolution& convolution, const T* images, const T* kernel,
                         const T* bias, T* results) {
  if constexpr (std::is_same_v<T, float>)
    if (float_convolution_.convolve(convolution, images, kernel, bias, results)) return;
  Scratch scratch;
  lockstep::convolve(convolution, images, kernel, results, buffer_for<T>(convolution, scratch));
  if (bias == nullptr) return;
  const PatchGeometry& geometry = convolution.patches;
  const std::int64_t positions = geometry.num_positions();
  const bool is_last = geometry.order == ChannelOrder::last;
  const Columns columns{is_last ? convolution.num_images * positions : convolution.num_images,
                        convolution.num_filters, is_last ? 1 : positions};
  add_to_channels(columns, bias, results);
}

template <class T>
void Convolver::kernel_gradient(const Convolution& convolution, const T* images,
                                const T* result_gradients, T* kernel_gradient, Result mode) {
  if constexpr (std::is_same_v<T, float>)
    if (float_convolution_.kernel_gradient(convolution, images, result_gradients, kernel_gradient,
                                           mode))
      return;
  Scratch scratch;
  convolution_kernel_gradient(convolution, images, result_gradients, kernel_gradient, mode,
                              buffer_for<T>(convolution, scratch));
}

template <class T>
void Convolver::image_gradient(const Convolution& convolution, const T* kernel,
                               const T* result_gradients, T* image_gradients) {
  if constexpr (std::is_same_v<T, float>)
    if (float_convolution_.image_gradient(convolution, kernel, result_gradients, image_gradients))
      return;
  Scratch scratch;
  convolution_image_gradient(convolution, kernel, result_gradients, image_gradients,
                             buffer_for<T>(convolution, scratch));
}

template void Convolver::convolve(const Convolution&, const float*, const float*, const float*,
                                  float*);
template void Convolver::convolve(const Convolution&, const double*, const double*, const double*,
                                  double*);
template void Convolver::kernel_gradient(const Convolution&, const float*, const float*, float*,
                                         Result);
template void Convolver::kernel_gradient(const Convolution&, const double*, const double*, double*,
                                         Result);
template void Convolver::image_gradient(const Convolution&, const float*, const float*, float*);
template void Convolver::image_gradient(const Convolution&, const double*, const double*, double*);

}  // namespace lockstep
