// Convolutions in the fastest way there is for their type.

#pragma once

#include "kernels/convolution.hpp"
#include "kernels/float_convolution.hpp"

namespace lockstep {

/// What a layer keeps for its convolutions from call to call. T is float or double; equal calls
/// give equal bits. Throws ForeignError or MemoryError when oneDNN fails.
class Convolver {
 public:
  /// As the function, plus bias[filter] unless that is null.
  template <class T>
  void convolve(const Convolution& convolution, const T* images, const T* kernel, const T* bias,
                T* results);
  /// As convolution_kernel_gradient().
  template <class T>
  void kernel_gradient(const Convolution& convolution, const T* images, const T* result_gradients,
                       T* kernel_gradient, Result mode);
  /// As convolution_image_gradient().
  template <class T>
  void image_gradient(const Convolution& convolution, const T* kernel, const T* result_gradients,
                      T* image_gradients);

 private:
  FloatConvolution float_convolution_;
};

}  // namespace lockstep
