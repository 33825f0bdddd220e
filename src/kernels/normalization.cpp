#include "kernels/normalization.hpp"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/factored_gradient.hpp"
#include "kernels/reference_normalization.hpp"

namespace lockstep {
namespace {

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
void add_vector_sums(const VectorKernels<T>& kernels, const VectorBatch<T>& batch, bool is_ordered,
                     const double* center, double* sum, double* sum_squares) {
  const auto count = static_cast<double>(batch.columns.num_per_channel());
  if (is_ordered || std::is_same_v<T, double> || count < min_quick_count)
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

// Where the coefficients of one channel do not fit, images are done plane by plane, so that no bit
// of the other channels depends on which they share a batch with.
bool has_planes(const Columns& columns) noexcept {
  return columns.channels > 1 && columns.inner > 1;
}

// Calls visit(plane as a batch, channel, first element).
template <class T, class Visit>
void for_each_plane(const NormalizationBatch<T>& batch, const Columns& columns, Visit&& visit) {
  ColumnLayout layout;
  layout.num_columns = 1;
  layout.append(columns.inner, 0);
  std::int64_t first = 0;
  for (std::int64_t outer = 0; outer < columns.outer; ++outer)
    for (std::int64_t c = 0; c < columns.channels; ++c, first += columns.inner)
      visit(NormalizationBatch<T>{.x = batch.x + first,
                                  .residual =
                                      batch.residual == nullptr ? nullptr : batch.residual + first,
                                  .layout = layout,
                                  .gates = {batch.gates.bits, batch.gates.first + first},
                                  .activation = batch.activation,
                                  .negative_slope = batch.negative_slope,
                                  .is_ordered = batch.is_ordered},
            c, first);
}

AffineView column_of(const AffineView& affine, std::int64_t c) noexcept {
  return {affine.center + c, affine.scale + c, affine.shift + c};
}

double* element_of(double* values, std::int64_t c) noexcept {
  return values == nullptr ? nullptr : values + c;
}
const double* element_of(const double* values, std::int64_t c) noexcept {
  return values == nullptr ? nullptr : values + c;
}

}  // namespace

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

bool is_worth_streaming(std::int64_t num_bytes) noexcept { return num_bytes >= min_streamed_bytes; }

void flush_streams() noexcept { hwy::FlushStream(); }

template <class T>
void add_sums(const NormalizationBatch<T>& batch, const double* center, double* count, double* sum,
              double* sum_squares) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  if (kernels == nullptr || !vector)
    return reference::add_sums(batch, center, count, sum, sum_squares);
  for (std::int64_t c = 0; c < vector->columns.channels; ++c)
    count[c] += static_cast<double>(vector->columns.num_per_channel());
  add_vector_sums(*kernels, *vector, batch.is_ordered, center, sum, sum_squares);
}

template <class T>
void widen_range(const NormalizationBatch<T>& batch, double* maximum, double* negated_minimum) {
  reference::widen_range(batch, maximum, negated_minimum);
}

template <class T>
bool apply_normalization(const NormalizationBatch<T>& batch, const AffineView& output, T* y,
                         std::uint8_t* gates) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  const bool is_known = kernels != nullptr && vector;
  if (!is_known || !fit<T>(output, batch.layout.num_columns)) {
    if (is_known && has_planes(vector->columns))
      for_each_plane(batch, vector->columns, [&](const auto& plane, std::int64_t c, auto first) {
        apply_normalization(plane, column_of(output, c), y + first);
      });
    else
      reference::apply_normalization(batch, output, y);
    return false;
  }
  const bool has_gates =
      gates != nullptr && batch.residual != nullptr && vector->activation.has_gates();
  kernels->apply(*vector, output, y, has_gates ? gates : nullptr);
  return has_gates;
}

template <class T>
void add_gradient_sums(const NormalizationBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy,
                       const GradientSumPointers& sums) {
  const auto* const kernels = vector_kernels_for<T>();
  const auto vector = vector_batch(batch);
  const std::int64_t num_columns = batch.layout.num_columns;
  const bool is_known = kernels != nullptr && vector;
  if (!is_known || !fit<T>(output, num_columns) || !fit<T>(normalization, num_columns)) {
    if (!is_known || !has_planes(vector->columns))
      return reference::add_gradient_sums(batch, output, normalization, dy, sums);
    return for_each_plane(
        batch, vector->columns, [&](const auto& plane, std::int64_t c, auto first) {
          add_gradient_sums(plane, column_of(output, c), column_of(normalization, c), dy + first,
                            {sums.output + c, element_of(sums.adjusted, c), sums.normalized + c,
                             element_of(sums.bias, c)});
        });
  }
  scratch.clear(num_columns);
  const bool is_quick = !batch.is_ordered &&
                        static_cast<double>(vector->columns.num_per_channel()) >= min_quick_count;
  (is_quick ? kernels->add_quick_gradient_sums : kernels->add_gradient_sums)(
      *vector, output, normalization, dy, scratch.first.data(), scratch.second.data());
  for (std::size_t c = 0; c < scratch.first.size(); ++c) {
    if (sums.adjusted != nullptr) sums.adjusted[c] += scratch.first[c];
    add_normalized_sums<T>(normalization, c, scratch.first[c], scratch.second[c], sums.output[c],
                           sums.normalized[c]);
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
  const bool is_known = kernels != nullptr && vector;
  bool is_fast = is_known && fit<T>(output, num_columns);
  if (is_fast && gradient.p != nullptr) {
    is_fast = factor(gradient, num_columns, scratch);
    factored.p = scratch.first.data();
    factored.q = scratch.second.data();
  }
  if (!is_fast || !factored_fit<T>(factored, num_columns)) {
    if (!is_known || !has_planes(vector->columns))
      return reference::apply_input_gradient(batch, output, gradient, dy, dx, residual_gradient);
    return for_each_plane(
        batch, vector->columns, [&](const auto& plane, std::int64_t c, auto first) {
          apply_input_gradient(plane, column_of(output, c),
                               {gradient.center + c, gradient.a + c, element_of(gradient.p, c),
                                element_of(gradient.q, c)},
                               dy + first, dx == nullptr ? nullptr : dx + first,
                               residual_gradient == nullptr ? nullptr : residual_gradient + first);
        });
  }
  kernels->apply_input_gradient(*vector, output, factored, dy, dx, residual_gradient);
}

#define LOCKSTEP_INSTANTIATE(T)                                                                   \
  template void add_sums(const NormalizationBatch<T>&, const double*, double*, double*, double*); \
  template void widen_range(const NormalizationBatch<T>&, double*, double*);                      \
  template bool apply_normalization(const NormalizationBatch<T>&, const AffineView&, T*,          \
                                    std::uint8_t*);                                               \
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
