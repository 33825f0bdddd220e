// What stands in for oneDNN in builds without it: everything is left to the reference.

#include "kernels/float_convolution.hpp"
#include "kernels/float_product.hpp"

namespace lockstep {

struct FloatProduct::Plans {};
FloatProduct::FloatProduct() = default;
FloatProduct::~FloatProduct() = default;
FloatProduct::FloatProduct(FloatProduct&&) noexcept = default;
FloatProduct& FloatProduct::operator=(FloatProduct&&) noexcept = default;

bool FloatProduct::multiply(const MatrixView<float>&, const MatrixView<float>&, const float*,
                            float*, Result) {
  return false;
}

struct FloatConvolution::Plans {};
FloatConvolution::FloatConvolution() = default;
FloatConvolution::~FloatConvolution() = default;
FloatConvolution::FloatConvolution(FloatConvolution&&) noexcept = default;
FloatConvolution& FloatConvolution::operator=(FloatConvolution&&) noexcept = default;

bool FloatConvolution::convolve(const Convolution&, const float*, const float*, const float*,
                                float*) {
  return false;
}

bool FloatConvolution::kernel_gradient(const Convolution&, const float*, const float*, float*,
                                       Result) {
  return false;
}

bool FloatConvolution::image_gradient(const Convolution&, const float*, const float*, float*) {
  return false;
}

}  // namespace lockstep
