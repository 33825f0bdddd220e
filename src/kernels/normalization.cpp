#include "kernels/normalization.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

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

VectorActivation vector_activation(const AnyActivation& activation, double slope) noexcept {
  VectorActivation result{false, false, slope};
  const auto* const function = std::get_if<ActivationFunction>(&activation);
  if (function == nullptr || *function > ActivationFunction::leaky_relu) {
    result.other = &activation;
  } else if (*function == ActivationFunction::linear) {
    return {};
  } else if (*function != ActivationFunction::leaky_relu) {
    result.is_zero_below = true;
    result.below = 0.0;
    if (*function == ActivationFunction::relu6) result.above = 6.0;
  }
  return result;
}

template <class T>
std::optional<VectorBatch<T>> vector_batch(const NormalizationBatch<T>& batch) noexcept {
  if (batch.weights.values != nullptr || batch.adjustment.scale != nullptr) return std::nullopt;
  const auto columns = columns_of(batch.layout);
  if (!columns) return std::nullopt;
  return VectorBatch<T>{*columns, batch.x, batch.residual,
                        vector_activation(batch.activation, batch.negative_slope)};
}

// Elements are computed in float unless they are double, so coefficients must not leave its range;
// 0 is no loss, and NaN stays in its channel.
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

// What coefficients and centers are rounded to.
template <class T>
double rounded(double value) noexcept {
  return std::is_same_v<T, double> ? value : static_cast<double>(static_cast<float>(value));
}

// Two numbers per channel, in memory that is kept.
struct ChannelPairs {
  std::vector<double> first, second;

  void clear(std::int64_t num_channels) {
    first.assign(static_cast<std::size_t>(num_channels), 0.0);
    second.assign(static_cast<std::size_t>(num_channels), 0.0);
  }
};
thread_local ChannelPairs scratch, more_scratch;

// Fewer elements cost nothing, and hardly average what rounding does to them.
constexpr double min_quick_count = 128.0;

// True where quick sums will do: squares neither overflowed nor vanished, and the center was within
// a standard deviation of the mean, so that the variance is at least half of the mean square. Then
// 64 additions of floats leave it 2 * 64 * 2^-24 < 1e-5 of itself even if all of them round alike.
bool is_trustworthy(double count, double sum, double sum_squares) noexcept {
  const double offset = sum / count;
  const double square = sum_squares / count;
  return square >= 1e-30 && square <= 1e30 && offset * offset <= square / 2.0;
}

// Replaces what is not trustworthy.
template <class T>
void mend_quick_sums(const VectorKernels<T>& kernels, const VectorBatch<T>& batch, double count,
                     const double* center, ChannelPairs& sums) {
  const auto is_fine = [&](std::size_t c) {
    return is_trustworthy(count, sums.first[c], sums.second[c]);
  };
  std::size_t c = 0;
  while (c < sums.first.size() && is_fine(c)) ++c;
  if (c == sums.first.size()) return;
  ChannelPairs& exact = more_scratch;
  exact.clear(batch.columns.channels);
  kernels.add_sums(batch, center, exact.first.data(), exact.second.data());
  for (; c < sums.first.size(); ++c) {
    if (is_fine(c)) continue;
    sums.first[c] = exact.first[c];
    sums.second[c] = exact.second[c];
  }
}

template <class T>
void add_vector_sums(const VectorKernels<T>& kernels, const VectorBatch<T>& batch,
                     const double* center, double* sum, double* sum_squares) {
  const auto count = static_cast<double>(batch.columns.num_per_channel());
  if (std::is_same_v<T, double> || count < min_quick_count)
    return kernels.add_sums(batch, center, sum, sum_squares);
  thread_local std::vector<double> rounded_center;
  rounded_center.assign(center, center + batch.columns.channels);
  for (double& value : rounded_center) value = rounded<T>(value);
  scratch.clear(batch.columns.channels);
  kernels.add_quick_sums(batch, rounded_center.data(), scratch.first.data(), scratch.second.data());
  mend_quick_sums(kernels, batch, count, rounded_center.data(), scratch);
  for (std::size_t c = 0; c < rounded_center.size(); ++c) {
    // x - k = (x - r) + (r - k) for the rounded center r
    const double moved = rounded_center[c] - center[c];
    sum[c] += scratch.first[c] + count * moved;
    sum_squares[c] += scratch.second[c] + moved * (2.0 * scratch.first[c] + count * moved);
  }
}

// The gradient with a factored out; false where a is 0 and something else is not.
bool factor(const InputGradientView& gradient, std::int64_t num_columns, ChannelPairs& pairs) {
  pairs.clear(num_columns);
  for (std::size_t c = 0; c < pairs.first.size(); ++c) {
    const double a = gradient.a[c], p = gradient.p[c], q = gradient.q[c];
    if (p == 0.0 && q == 0.0) continue;
    if (a == 0.0) return false;
    pairs.first[c] = p / a;
    pairs.second[c] = q / a;
  }
  return true;
}

template <class T>
bool fit(const FactoredGradientView& gradient, std::int64_t count) noexcept {
  return fit<T>(gradient.a, count) && fit<T>(gradient.p, count) &&
         do_not_overflow<T>(gradient.q, count);
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
  add_vector_sums(*kernels, *vector, center, sum, sum_squares);
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
  if (kernels == nullptr || !vector || !fit<T>(output, num_columns) ||
      !fit<T>(normalization, num_columns))
    return reference::add_gradient_sums(batch, output, normalization, dy, sums);
  scratch.clear(num_columns);
  const bool is_quick = static_cast<double>(vector->columns.num_per_channel()) >= min_quick_count;
  (is_quick ? kernels->add_quick_gradient_sums : kernels->add_gradient_sums)(
      *vector, output, normalization, dy, scratch.first.data(), scratch.second.data());
  for (std::size_t c = 0; c < scratch.first.size(); ++c) {
    const double sum = scratch.first[c];
    const double scale = normalization.scale[c];
    const double moved = rounded<T>(normalization.center[c]) - normalization.center[c];
    sums.output[c] += sum;
    if (sums.adjusted != nullptr) sums.adjusted[c] += sum;
    sums.normalized[c] += scratch.second[c] + sum * (moved * scale + normalization.shift[c]);
  }
}

template <class T>
void apply_input_gradient(const NormalizationBatch<T>& batch, const AffineView& output,
                          const InputGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  const std::int64_t num_columns = batch.layout.num_columns;
  FactoredGradientView factored{gradient.center, gradient.a, nullptr, nullptr};
  bool is_fast = kernels != nullptr && vector && fit<T>(output, num_columns);
  if (is_fast && gradient.p != nullptr) {
    is_fast = factor(gradient, num_columns, scratch);
    factored.p = scratch.first.data();
    factored.q = scratch.second.data();
  }
  if (!is_fast || !fit<T>(factored, num_columns))
    return reference::apply_input_gradient(batch, output, gradient, dy, dx, residual_gradient);
  kernels->apply_input_gradient(*vector, output, factored, dy, dx, residual_gradient);
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
