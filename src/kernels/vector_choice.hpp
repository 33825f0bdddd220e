// Whether vector kernels can do what a call needs, and how it looks to them.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "kernels/vector_normalization.hpp"
#include "lockstep/base/float16.hpp"

namespace lockstep {

/// Those of the target that runs; null for the reference.
template <class T>
const VectorKernels<T>* vector_kernels_for() noexcept {
  const VectorKernelTable* const table = vector_kernels(kernel_target());
  if (table == nullptr) return nullptr;
  if constexpr (std::is_same_v<T, float>)
    return &table->of_float;
  else if constexpr (std::is_same_v<T, double>)
    return &table->of_double;
  else if constexpr (std::is_same_v<T, Float16>)
    return &table->of_float16;
  else
    return &table->of_bfloat16;
}

/// The layout as [outer, channels, inner], if it is one.
[[nodiscard]] std::optional<Columns> columns_of(const ColumnLayout& layout) noexcept;

[[nodiscard]] VectorActivation vector_activation(const AnyActivation& activation,
                                                 double slope) noexcept;

/// The batch, if vector kernels know its layout and features.
template <class T>
std::optional<VectorBatch<T>> vector_batch(const NormalizationBatch<T>& batch) noexcept {
  if (batch.weights.values != nullptr || batch.adjustment.scale != nullptr || batch.is_irregular)
    return std::nullopt;
  const auto columns = columns_of(batch.layout);
  if (!columns) return std::nullopt;
  return VectorBatch<T>{*columns,       batch.x,
                        batch.residual, vector_activation(batch.activation, batch.negative_slope),
                        batch.gates,    batch.is_streamed};
}

/// Elements are computed in float unless they are double, so coefficients must not leave its range;
/// 0 is no loss, and NaN stays in its channel.
template <class T>
bool fit(const double* coefficients, std::int64_t count) noexcept {
  if (std::is_same_v<T, double> || coefficients == nullptr) return true;
  using limits = std::numeric_limits<float>;
  return std::all_of(coefficients, coefficients + count, [](double value) {
    const double magnitude = std::abs(value);
    return value == 0.0 || !(magnitude < limits::min() || magnitude > limits::max());
  });
}
template <class T>
bool do_not_overflow(const double* coefficients, std::int64_t count) noexcept {
  if (std::is_same_v<T, double> || coefficients == nullptr) return true;
  return std::all_of(coefficients, coefficients + count, [](double value) {
    return !(std::abs(value) > std::numeric_limits<float>::max());
  });
}
template <class T>
bool fit(const AffineView& affine, std::int64_t count) noexcept {
  return fit<T>(affine.scale, count) && do_not_overflow<T>(affine.center, count) &&
         do_not_overflow<T>(affine.shift, count);
}

}  // namespace lockstep
