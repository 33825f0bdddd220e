#include "kernels/reference_normalization.hpp"

#include <cmath>
#include <limits>

#include "kernels/activation.hpp"
#include "lockstep/base/float16.hpp"

namespace lockstep::reference {
namespace {

using Buffer = std::array<double, block_size>;

template <class T>
void load(const T* source, const Block& block, Buffer& values) {
  for (std::size_t i = 0; i < block.count; ++i)
    values[i] = static_cast<double>(source[static_cast<std::size_t>(block.first) + i]);
}

template <class T>
void store(const Buffer& values, const Block& block, T* target) {
  for (std::size_t i = 0; i < block.count; ++i)
    target[static_cast<std::size_t>(block.first) + i] = static_cast<T>(values[i]);
}

// Calls body(i, column) for the elements of a block, in two loops that compilers can unroll.
template <class Body>
void for_each_in(const Block& block, Body&& body) {
  if (block.column_step == 0)
    for (std::size_t i = 0; i < block.count; ++i) body(i, block.column);
  else
    for (std::size_t i = 0; i < block.count; ++i) body(i, block.column + i);
}

void add_to_columns(const Block& block, const Buffer& terms, double* sums) {
  if (block.column_step == 0) {
    double sum = 0.0;
    for (std::size_t i = 0; i < block.count; ++i) sum += terms[i];
    sums[block.column] += sum;
  } else {
    for (std::size_t i = 0; i < block.count; ++i) sums[block.column + i] += terms[i];
  }
}

void apply_affine(const Block& block, const AffineView& affine, const Buffer& x, Buffer& y) {
  for_each_in(block, [&](std::size_t i, std::size_t c) {
    y[i] = (x[i] - affine.center[c]) * affine.scale[c] + affine.shift[c];
  });
}

double weight_of(const ElementWeights& weights, const Block& block) {
  return weights.values == nullptr ? 1.0 : weights.values[block.first / weights.stride];
}

// Calls visit(block, weight); no block holds elements of different weights.
template <class T, class Visit>
void for_each_weighted_block(const NormalizationBatch<T>& batch, Visit&& visit) {
  const std::int64_t granularity = batch.weights.values == nullptr
                                       ? std::numeric_limits<std::int64_t>::max()
                                       : batch.weights.stride;
  for_each_block(batch.layout, granularity,
                 [&](const Block& block) { visit(block, weight_of(batch.weights, block)); });
}

// What the activation is applied to.
template <class T>
void preactivate(const NormalizationBatch<T>& batch, const AffineView& output, const Block& block,
                 const Buffer& x, Buffer& y) {
  apply_affine(block, output, x, y);
  const auto first = static_cast<std::size_t>(block.first);
  if (const auto& [scale, bias, factor, offset] = batch.adjustment; scale != nullptr)
    for_each_in(block, [&, scale = scale, bias = bias, factor = factor, offset = offset](
                           std::size_t i, std::size_t c) {
      y[i] = (y[i] * scale[first + i] + bias[first + i]) * factor[c] + offset[c];
    });
  if (batch.residual != nullptr)
    for (std::size_t i = 0; i < block.count; ++i)
      y[i] += static_cast<double>(batch.residual[first + i]);
}

// G: the gradient of what the activation was applied to.
template <class T>
void load_gradient(const NormalizationBatch<T>& batch, const AffineView& output, const Block& block,
                   const T* dy, const Buffer& x, Buffer& gradient) {
  load(dy, block, gradient);
  if (is_linear(batch.activation)) return;
  Buffer y;
  preactivate(batch, output, block, x, y);
  activation_gradient(batch.activation, batch.negative_slope, y.data(), gradient.data(),
                      gradient.data(), static_cast<std::int64_t>(block.count));
}

}  // namespace

template <class T>
void add_sums(const NormalizationBatch<T>& batch, const double* center, double* count, double* sum,
              double* sum_squares) {
  Buffer x, terms;
  for_each_weighted_block(batch, [&](const Block& block, double weight) {
    if (weight == 0.0) return;
    load(batch.x, block, x);
    for_each_in(block, [&](std::size_t i, std::size_t c) { x[i] -= center[c]; });
    std::fill_n(terms.begin(), block.count, weight);
    add_to_columns(block, terms, count);
    for (std::size_t i = 0; i < block.count; ++i) terms[i] = weight * x[i];
    add_to_columns(block, terms, sum);
    for (std::size_t i = 0; i < block.count; ++i) terms[i] *= x[i];
    add_to_columns(block, terms, sum_squares);
  });
}

template <class T>
void widen_range(const NormalizationBatch<T>& batch, double* maximum, double* negated_minimum) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Buffer x;
  for_each_weighted_block(batch, [&](const Block& block, double weight) {
    if (weight == 0.0) return;
    load(batch.x, block, x);
    for_each_in(block, [&](std::size_t i, std::size_t c) {
      const bool is_number = !std::isnan(x[i]);
      maximum[c] = std::max(maximum[c], is_number ? x[i] : infinity);
      negated_minimum[c] = std::max(negated_minimum[c], is_number ? -x[i] : infinity);
    });
  });
}

template <class T>
void apply_normalization(const NormalizationBatch<T>& batch, const AffineView& output, T* y) {
  Buffer x, values;
  for_each_weighted_block(batch, [&](const Block& block, double weight) {
    load(batch.x, block, x);
    preactivate(batch, output, block, x, values);
    if (!is_linear(batch.activation))
      activate(batch.activation, batch.negative_slope, values.data(), values.data(),
               static_cast<std::int64_t>(block.count));
    if (weight == 0.0)
      for (std::size_t i = 0; i < block.count; ++i)
        if (!std::isfinite(x[i])) values[i] = std::numeric_limits<double>::quiet_NaN();
    store(values, block, y);
  });
}

template <class T>
void add_gradient_sums(const NormalizationBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy,
                       const GradientSumPointers& sums) {
  Buffer x, gradient, normalized, terms;
  for_each_weighted_block(batch, [&](const Block& block, double weight) {
    load(batch.x, block, x);
    load_gradient(batch, output, block, dy, x, gradient);
    apply_affine(block, normalization, x, normalized);
    if (weight == 0.0)
      for (std::size_t i = 0; i < block.count; ++i)
        if (!std::isfinite(x[i])) gradient[i] = normalized[i] = 0.0;
    add_to_columns(block, gradient, sums.output);
    const auto multiply_by = [&](const double* factors) {
      const double* const here = factors + block.first;
      for (std::size_t i = 0; i < block.count; ++i) terms[i] = gradient[i] * here[i];
    };
    if (sums.bias != nullptr && batch.adjustment.bias != nullptr) {
      multiply_by(batch.adjustment.bias);
      add_to_columns(block, terms, sums.bias);
    }
    if (batch.adjustment.scale != nullptr) {
      multiply_by(batch.adjustment.scale);
      gradient = terms;
    }
    if (sums.adjusted != nullptr) add_to_columns(block, gradient, sums.adjusted);
    for (std::size_t i = 0; i < block.count; ++i) terms[i] = gradient[i] * normalized[i];
    add_to_columns(block, terms, sums.normalized);
  });
}

template <class T>
void apply_input_gradient(const NormalizationBatch<T>& batch, const AffineView& output,
                          const InputGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient) {
  Buffer x, values;
  for_each_weighted_block(batch, [&](const Block& block, double weight) {
    load(batch.x, block, x);
    load_gradient(batch, output, block, dy, x, values);
    const auto clear_non_finite = [&] {
      for (std::size_t i = 0; i < block.count; ++i)
        if (!std::isfinite(x[i])) values[i] = 0.0;
    };
    if (weight == 0.0) clear_non_finite();
    if (residual_gradient != nullptr) store(values, block, residual_gradient);
    if (dx == nullptr) return;
    const double* const scale = batch.adjustment.scale;
    if (scale != nullptr)
      for (std::size_t i = 0; i < block.count; ++i)
        values[i] *= scale[static_cast<std::size_t>(block.first) + i];
    for_each_in(block, [&](std::size_t i, std::size_t c) { values[i] *= gradient.a[c]; });
    if (gradient.p != nullptr && weight != 0.0)
      for_each_in(block, [&](std::size_t i, std::size_t c) {
        values[i] += weight * (gradient.p[c] * (x[i] - gradient.center[c]) + gradient.q[c]);
      });
    store(values, block, dx);
  });
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

}  // namespace lockstep::reference
