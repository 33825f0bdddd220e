#include "kernels/normalization.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "kernels/reference_normalization.hpp"
#include "kernels/vector_normalization.hpp"
#include "lockstep/base/float16.hpp"

namespace lockstep {
namespace {

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

// The layout as [outer, channels, inner], if it is one.
std::optional<Columns> columns_of(const ColumnLayout& layout) noexcept {
  Columns columns{1, 1, 1};
  const auto axes = layout.used();
  std::size_t i = 0;
  if (axes.size() > 1 && axes[0].column_stride == 0) columns.outer = axes[i++].extent;
  if (i < axes.size() && axes[i].column_stride == 1) columns.channels = axes[i++].extent;
  if (i < axes.size() && axes[i].column_stride == 0) columns.inner = axes[i++].extent;
  if (i != axes.size() || columns.channels != layout.num_columns) return std::nullopt;
  return columns;
}

std::optional<PiecewiseLinear> piecewise_linear(const AnyActivation& activation,
                                                double negative_slope) noexcept {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const auto* const function = std::get_if<ActivationFunction>(&activation);
  if (function == nullptr) return std::nullopt;
  switch (*function) {
    case ActivationFunction::linear:
      return PiecewiseLinear{true, false, 1.0, none};
    case ActivationFunction::relu:
      return PiecewiseLinear{false, true, 0.0, none};
    case ActivationFunction::relu6:
      return PiecewiseLinear{false, true, 0.0, 6.0};
    case ActivationFunction::leaky_relu:
      return PiecewiseLinear{false, false, negative_slope, none};
    default:
      return std::nullopt;
  }
}

template <class T>
std::optional<VectorBatch<T>> vector_batch(const NormalizationBatch<T>& batch) noexcept {
  if (batch.weights.values != nullptr || batch.adjustment.scale != nullptr) return std::nullopt;
  const auto columns = columns_of(batch.layout);
  const auto activation = piecewise_linear(batch.activation, batch.negative_slope);
  if (!columns || !activation) return std::nullopt;
  return VectorBatch<T>{*columns, batch.x, batch.residual, *activation};
}

// Elements are computed in float unless they are double, so coefficients must not leave its range;
// 0 is no loss.
template <class T>
bool fit(const double* coefficients, std::int64_t count) noexcept {
  if (std::is_same_v<T, double> || coefficients == nullptr) return true;
  using limits = std::numeric_limits<float>;
  return std::all_of(coefficients, coefficients + count, [](double value) {
    const double magnitude = std::abs(value);
    return value == 0.0 || (magnitude >= limits::min() && magnitude <= limits::max());
  });
}
template <class T>
bool do_not_overflow(const double* coefficients, std::int64_t count) noexcept {
  if (std::is_same_v<T, double> || coefficients == nullptr) return true;
  return std::all_of(coefficients, coefficients + count, [](double value) {
    return std::abs(value) <= std::numeric_limits<float>::max();
  });
}
template <class T>
bool fit(const AffineView& affine, std::int64_t count) noexcept {
  return fit<T>(affine.scale, count) && do_not_overflow<T>(affine.center, count) &&
         do_not_overflow<T>(affine.shift, count);
}

}  // namespace

template <class T>
void add_sums(const NormalizationBatch<T>& batch, const double* center, double* count, double* sum,
              double* sum_squares) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  if (kernels == nullptr || !vector)
    return reference::add_sums(batch, center, count, sum, sum_squares);
  for (std::int64_t c = 0; c < vector->columns.channels; ++c)
    count[c] += static_cast<double>(vector->columns.num_per_channel());
  kernels->add_sums(*vector, center, sum, sum_squares);
}

template <class T>
void widen_range(const NormalizationBatch<T>& batch, double* maximum, double* negated_minimum) {
  reference::widen_range(batch, maximum, negated_minimum);
}

template <class T>
void apply_normalization(const NormalizationBatch<T>& batch, const AffineView& output, T* y) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  if (kernels == nullptr || !vector || !fit<T>(output, batch.layout.num_columns))
    return reference::apply_normalization(batch, output, y);
  kernels->apply(*vector, output, y);
}

template <class T>
void add_gradient_sums(const NormalizationBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy,
                       const GradientSumPointers& sums) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  const std::int64_t num_columns = batch.layout.num_columns;
  if (kernels == nullptr || !vector || !fit<T>(output, num_columns))
    return reference::add_gradient_sums(batch, output, normalization, dy, sums);
  thread_local std::vector<double> sum, products;
  sum.assign(static_cast<std::size_t>(num_columns), 0.0);
  products.assign(sum.size(), 0.0);
  kernels->add_gradient_sums(*vector, output, normalization.center, dy, sum.data(),
                             products.data());
  for (std::size_t c = 0; c < sum.size(); ++c) {
    sums.output[c] += sum[c];
    if (sums.adjusted != nullptr) sums.adjusted[c] += sum[c];
    // sum of G ((x - center) scale + shift)
    sums.normalized[c] += products[c] * normalization.scale[c] + sum[c] * normalization.shift[c];
  }
}

template <class T>
void apply_input_gradient(const NormalizationBatch<T>& batch, const AffineView& output,
                          const InputGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  const std::int64_t num_columns = batch.layout.num_columns;
  if (kernels == nullptr || !vector || !fit<T>(output, num_columns) ||
      !fit<T>(gradient.a, num_columns) || !fit<T>(gradient.p, num_columns) ||
      !do_not_overflow<T>(gradient.q, num_columns))
    return reference::apply_input_gradient(batch, output, gradient, dy, dx, residual_gradient);
  kernels->apply_input_gradient(*vector, output, gradient, dy, dx, residual_gradient);
}

#define LOCKSTEP_INSTANTIATE(T)                                                                   \
  template void add_sums(const NormalizationBatch<T>&, const double*, double*, double*, double*); \
  template void widen_range(const NormalizationBatch<T>&, double*, double*);                      \
  template void apply_normalization(const NormalizationBatch<T>&, const AffineView&, T*);         \
  template void add_gradient_sums(const NormalizationBatch<T>&, const AffineView&,                \
                                  const AffineView&, const T*, const GradientSumPointers&);       \
  template void apply_input_gradient(const NormalizationBatch<T>&, const AffineView&,             \
                                     const InputGradientView&, const T*, T*, T*)

LOCKSTEP_INSTANTIATE(float);
LOCKSTEP_INSTANTIATE(double);
LOCKSTEP_INSTANTIATE(Float16);
LOCKSTEP_INSTANTIATE(BFloat16);
#undef LOCKSTEP_INSTANTIATE

}  // namespace lockstep
