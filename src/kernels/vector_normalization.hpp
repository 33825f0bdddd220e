// Kernels of batch normalization made of vector instructions: what they are told, where they are.

#pragma once

#include <cstdint>
#include <limits>

#include "kernels/columns.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/normalization.hpp"
#include "lockstep/base/float16.hpp"
#include "lockstep/kernels/kernel_target.hpp"

namespace lockstep {

/// z below 0 becomes z * below, z above `above` becomes that: linear, relu, relu6 and leaky_relu.
/// All others are computed element by element, in double.
struct VectorActivation {
  bool is_linear = true;
  bool is_zero_below = false;  ///< relu and relu6: 0 even where z * 0 would not be
  double below = 1.0;
  double above = std::numeric_limits<double>::quiet_NaN();  ///< NaN: there is no such limit
  const AnyActivation* other = nullptr;                     ///< instead of the rest

  /// Whether its derivative is 1 or another number, the same everywhere.
  [[nodiscard]] bool has_gates() const noexcept { return other == nullptr && !is_linear; }
};

/// Outputs of so many bytes go past the caches, whose lines need not be read first then: 1.35 times
/// faster in memory, but 1.2 to 3 times slower within a rank's share of the last cache. Tests lower
/// it.
extern std::int64_t min_streamed_bytes;

/// y = activation((x - center) * scale + shift + residual); neither weights nor an adjustment.
template <class T>
struct VectorBatch {
  Columns columns;
  const T* x;
  const T* residual;  ///< null: there is none
  VectorActivation activation;
  Gates gates = {};          ///< for gradients; null: there are none
  bool is_streamed = false;  ///< outputs go past the caches, and the caller flushes them
};

/// dx = a (G + p (x - center) + q); without p and q, dx = a G. With a factored out the others stay
/// within the range of float, and the gradient of a single element is 0 exactly.
struct FactoredGradientView {
  const double* center;
  const double* a;
  const double* p;  ///< null with q
  const double* q;
};

/// float and 16-bit elements are computed in float, double ones in double, without fused
/// multiplication and addition: elements come out with the same bits on all targets. Coefficients
/// are rounded to that type.
template <class T>
struct VectorKernels {
  /// Adds x - center and its square, computed in double and added up in one order on all targets.
  void (*add_sums)(const VectorBatch<T>& batch, const double* center, double* sum,
                   double* sum_squares);
  /// The same in the type of elements, but for adding up short sums, with errors of some 1e-7 of
  /// the sum of squares, in an order of each target's own. Of no use where squares leave the range
  /// of float.
  void (*add_quick_sums)(const VectorBatch<T>& batch, const double* center, double* sum,
                         double* sum_squares);
  /// Writes y, which may be x or the residual, and gates unless they are null.
  void (*apply)(const VectorBatch<T>& batch, const AffineView& output, T* y, std::uint8_t* gates);
  /// Adds G and G (x - center) scale for the center and scale of `normalization`, as the sums or
  /// the quick sums are added.
  using AddGradientSums = void(const VectorBatch<T>& batch, const AffineView& output,
                               const AffineView& normalization, const T* dy, double* sum,
                               double* sum_products);
  AddGradientSums* add_gradient_sums;
  AddGradientSums* add_quick_gradient_sums;
  /// Writes dx and G, each unless it is null.
  void (*apply_input_gradient)(const VectorBatch<T>& batch, const AffineView& output,
                               const FactoredGradientView& gradient, const T* dy, T* dx,
                               T* residual_gradient);
  /// The terms of the sums and gradient sums of a batch [outer, channels], at most
  /// max_terms_in_words of them per channel, onto grids of the kinds {any, positive} and {measured,
  /// measured}. Coarse steps are fine enough for terms of floats.
  OutsideBits (*add_moment_terms)(const VectorBatch<T>& batch, const double* center,
                                  const FixedPointRow& sum, const FixedPointRow& sum_squares);
  OutsideBits (*add_gradient_terms)(const VectorBatch<T>& batch, const AffineView& output,
                                    const AffineView& normalization, const T* dy,
                                    const FixedPointRow& sum, const FixedPointRow& sum_products);
};

struct VectorKernelTable {
  OutsideBits (*add_terms)(const FixedPointRow& row, const double* terms, std::int64_t count);
  VectorKernels<float> of_float;
  VectorKernels<double> of_double;
  VectorKernels<Float16> of_float16;
  VectorKernels<BFloat16> of_bfloat16;
};

/// Null for reference, and where the target is none of this architecture.
[[nodiscard]] const VectorKernelTable* vector_kernels(KernelTarget target) noexcept;

}  // namespace lockstep
