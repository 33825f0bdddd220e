// The passes of batch normalization over raw memory.

#pragma once

#include "kernels/blocks.hpp"
#include "lockstep/kernels/activation_function.hpp"

namespace lockstep {

// Arrays of double without another word are per column, [layout.num_columns]. T is a storage type.

/// y = (x - center) * scale + shift.
struct AffineView {
  const double* center;
  const double* scale;
  const double* shift;
};

/// Element i has the weight values[i / stride]; all have 1 where there are no values.
struct ElementWeights {
  const double* values = nullptr;
  std::int64_t stride = 1;
};

/// a = z * scale + bias per element, and what follows it per column: a * factor + offset.
struct ElementAdjustment {
  const double* scale = nullptr;  ///< [elements], as the other; null: there is none
  const double* bias = nullptr;
  const double* factor = nullptr;
  const double* offset = nullptr;
};

/// One bit per element of a batch with a residual: whether its gradient passes an activation of
/// straight pieces, or is multiplied by the slope below 0. With them backward needs neither the
/// residual nor z. Bit first + i belongs to element i.
struct Gates {
  const std::uint8_t* bits = nullptr;  ///< null: there are none
  std::int64_t first = 0;

  /// Bytes for so many elements; those at the end are written, but hold none.
  [[nodiscard]] static constexpr std::size_t num_bytes(std::int64_t num_elements) noexcept {
    return static_cast<std::size_t>(num_elements) / 8 + sizeof(std::uint64_t) + 1;
  }
};

/// One batch on its way to y = activation(affine(x), adjusted, + residual).
template <class T>
struct NormalizationBatch {
  const T* x = nullptr;
  const T* residual = nullptr;  ///< null: there is none
  const ColumnLayout& layout;
  ElementWeights weights = {};
  ElementAdjustment adjustment = {};
  Gates gates = {};  ///< that the forward pass wrote
  const AnyActivation& activation;
  double negative_slope = 0.0;
  /// Sums are in double and in an order that depends on nothing but the shape.
  bool is_ordered = false;
  /// The reference loops do it all, where which of the vector kernels fits would depend on how a
  /// batch is cut.
  bool is_irregular = false;
  /// A part of outputs that are large enough to go past the caches; flush_streams() ends them.
  bool is_streamed = false;
};

/// True for outputs of so many bytes that they had better go past the caches.
[[nodiscard]] bool is_worth_streaming(std::int64_t num_bytes) noexcept;
/// After outputs in parts: other threads and processes may read them now.
void flush_streams() noexcept;

// An element of weight 0 that is not finite takes no part: its y is NaN, its gradients are 0, and
// nothing is added to any sum.

/// Adds w, w (x - center), w (x - center)^2.
template <class T>
void add_sums(const NormalizationBatch<T>& batch, const double* center, double* count, double* sum,
              double* sum_squares);

/// maximum = max(maximum, x), negated_minimum = max(negated_minimum, -x) over elements of positive
/// weight; NaN counts as +infinity in both.
template <class T>
void widen_range(const NormalizationBatch<T>& batch, double* maximum, double* negated_minimum);

/// Writes y, which may be x, and gates unless they are null. False where it did not write those:
/// gradients then compute z again.
template <class T>
bool apply_normalization(const NormalizationBatch<T>& batch, const AffineView& output, T* y,
                         std::uint8_t* gates = nullptr);

/// Sums over G, the gradient dy behind the derivative of the activation. With an adjustment per
/// element, of scale s and bias b, there are four of them.
struct GradientSumPointers {
  double* output;      ///< sum of G
  double* adjusted;    ///< sum of G s; null: not asked for
  double* normalized;  ///< sum of G s xhat
  double* bias;        ///< sum of G b; null: not asked for
};
template <class T>
void add_gradient_sums(const NormalizationBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy,
                       const GradientSumPointers& sums);

/// dx = a s G + w (p (x - center) + q); without p and q, dx = a s G.
struct InputGradientView {
  const double* center;
  const double* a;
  const double* p;  ///< null with q
  const double* q;
};
/// Writes dx and the residual's gradient G, each unless it is null; either may be dy.
template <class T>
void apply_input_gradient(const NormalizationBatch<T>& batch, const AffineView& output,
                          const InputGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient);

}  // namespace lockstep
