#include "kernels/convolver.hpp"

#include <type_traits>

#include "kernels/channels.hpp"

namespace lockstep {

template <class T>
T* Convolver::buffer_for(const Convolution& convolution) {
  constexpr DType dtype = std::is_same_v<T, float> ? DType::float32 : DType::float64;
  buffer_.resize({buffer_size_of(convolution)}, dtype);
  return buffer_.values<T>().data();
}

template <class T>
void Convolver::convolve(const Convolution& convolution, const T* images, const T* kernel,
                         const T* bias, T* results) {
  if constexpr (std::is_same_v<T, float>)
    if (float_convolution_.convolve(convolution, images, kernel, bias, results)) return;
  lockstep::convolve(convolution, images, kernel, results, buffer_for<T>(convolution));
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
  convolution_kernel_gradient(convolution, images, result_gradients, kernel_gradient, mode,
                              buffer_for<T>(convolution));
}

template <class T>
void Convolver::image_gradient(const Convolution& convolution, const T* kernel,
                               const T* result_gradients, T* image_gradients) {
  if constexpr (std::is_same_v<T, float>)
    if (float_convolution_.image_gradient(convolution, kernel, result_gradients, image_gradients))
      return;
  convolution_image_gradient(convolution, kernel, result_gradients, image_gradients,
                             buffer_for<T>(convolution));
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
