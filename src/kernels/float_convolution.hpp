// Convolutions of float32 by oneDNN.

#pragma once

#include <memory>

#include "kernels/convolution.hpp"

namespace lockstep {

/// Primitives for the shapes seen last, owned by a layer as those of FloatProduct are.
///
/// Every function returns false, and has done nothing, where only the reference can do it: without
/// images, for shapes that oneDNN has slow loops for only, and in builds without oneDNN. They throw
/// ForeignError or MemoryError when oneDNN fails.
class FloatConvolution {
 public:
  FloatConvolution();
  ~FloatConvolution();
  FloatConvolution(FloatConvolution&&) noexcept;
  FloatConvolution& operator=(FloatConvolution&&) noexcept;

  /// As convolve(), plus bias[filter] unless that is null.
  [[nodiscard]] bool convolve(const Convolution& convolution, const float* images,
                              const float* kernel, const float* bias, float* results);
  /// As convolution_kernel_gradient().
  [[nodiscard]] bool kernel_gradient(const Convolution& convolution, const float* images,
                                     const float* result_gradients, float* kernel_gradient,
                                     Result mode);
  /// As convolution_image_gradient().
  [[nodiscard]] bool image_gradient(const Convolution& convolution, const float* kernel,
                                    const float* result_gradients, float* image_gradients);

 private:
  struct Plans;
  [[nodiscard]] Plans& plans();

  std::unique_ptr<Plans> plans_;  // null until the first use
};

}  // namespace lockstep
