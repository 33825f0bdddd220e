// Kernels of batch normalization made of vector instructions: what they are told, where they are.

#pragma once

#include "kernels/columns.hpp"
#include "kernels/normalization.hpp"
#include "lockstep/base/float16.hpp"
#include "lockstep/kernels/kernel_target.hpp"

namespace lockstep {

/// z below 0 becomes z * below, z above `above` becomes that: linear, relu, relu6 and leaky_relu.
struct PiecewiseLinear {
  bool is_linear = true;
  bool is_zero_below = false;  ///< relu and relu6: 0 even where z * 0 would not be
  double below = 1.0;
  double above;  ///< NaN: there is no such limit
};

/// y = activation((x - center) * scale + shift + residual); neither weights nor an adjustment.
template <class T>
struct VectorBatch {
  Columns columns;
  const T* x;
  const T* residual;  ///< null: there is none
  PiecewiseLinear activation;
};

/// float and 16-bit elements are computed in float, double ones in double, without fused
/// multiplication and addition: elements come out with the same bits on all targets. Sums are of
/// doubles, in an order of each target's own.
template <class T>
struct VectorKernels {
  /// Adds x - center and its square.
  void (*add_sums)(const VectorBatch<T>& batch, const double* center, double* sum,
                   double* sum_squares);
  /// Writes y, which may be x or the residual.
  void (*apply)(const VectorBatch<T>& batch, const AffineView& output, T* y);
  /// Adds G and G (x - center), for `center` of its own.
  void (*add_gradient_sums)(const VectorBatch<T>& batch, const AffineView& output,
                            const double* center, const T* dy, double* sum, double* sum_products);
  /// Writes dx = a G + p (x - center) + q, and G, each unless it is null.
  void (*apply_input_gradient)(const VectorBatch<T>& batch, const AffineView& output,
                               const InputGradientView& gradient, const T* dy, T* dx,
                               T* residual_gradient);
};

struct VectorKernelTable {
  VectorKernels<float> of_float;
  VectorKernels<double> of_double;
  VectorKernels<Float16> of_float16;
  VectorKernels<BFloat16> of_bfloat16;
};

/// Null for reference, and where the target is none of this architecture.
[[nodiscard]] const VectorKernelTable* vector_kernels(KernelTarget target) noexcept;

}  // namespace lockstep
