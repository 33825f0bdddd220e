// Matrix products in the fastest way there is for their type.

#pragma once

#include "kernels/float_product.hpp"
#include "kernels/product.hpp"

namespace lockstep {

/// What a layer keeps for its products from call to call.
class Multiplier {
 public:
  /// As product(), plus bias[column] unless that is null, which only an overwritten result takes.
  /// Equal calls give equal bits. Throws ForeignError or MemoryError when oneDNN fails.
  void multiply(const MatrixView<float>& a, const MatrixView<float>& b, const float* bias,
                float* result, Result mode = Result::overwrite);
  void multiply(const MatrixView<double>& a, const MatrixView<double>& b, const double* bias,
                double* result, Result mode = Result::overwrite);

 private:
  FloatProduct float_product_;
};

}  // namespace lockstep
