// Sums that do not depend on how a batch is cut: what is rounded onto grids are the sums of single
// samples, which are never cut and whose elements are added up in one order.

#pragma once

#include <type_traits>

#include "kernels/fixed_point.hpp"
#include "kernels/normalization.hpp"

namespace lockstep {

/// The samples that a batch consists of, one after another in memory, or some channels of each.
struct Samples {
  std::int64_t count = 0;
  std::int64_t num_elements = 0;  ///< of each
  ColumnLayout layout = {};       ///< of each
  std::int64_t first = 0;         ///< element of the batch that sample 0 begins with
  std::int64_t stride = 0;        ///< from one sample to the next

  [[nodiscard]] std::int64_t first_of(std::int64_t n) const noexcept { return first + n * stride; }
};
/// `layout` is that of `count` samples; their axis is the first, or merged into the first.
[[nodiscard]] Samples samples_of(const ColumnLayout& layout, std::int64_t count) noexcept;

/// Channels [first, first + count) of samples of [channels, inner] elements.
[[nodiscard]] Samples channels_of(const Samples& samples, std::int64_t first,
                                  std::int64_t count) noexcept;

/// Sample n as a batch of its own, whose sums are in order.
template <class T>
[[nodiscard]] NormalizationBatch<T> sample_of(const NormalizationBatch<T>& batch,
                                              const Samples& samples, std::int64_t n) noexcept {
  const std::int64_t first = samples.first_of(n);
  NormalizationBatch<T> sample{.x = batch.x + first,
                               .residual = batch.residual,
                               .layout = samples.layout,
                               .weights = batch.weights,
                               .adjustment = batch.adjustment,
                               .gates = {batch.gates.bits, batch.gates.first + first},
                               .activation = batch.activation,
                               .negative_slope = batch.negative_slope,
                               .is_ordered = true,
                               .is_irregular = batch.is_irregular};
  if (sample.residual != nullptr) sample.residual += first;
  if (sample.weights.values != nullptr) sample.weights.values += first / sample.weights.stride;
  if (sample.adjustment.scale != nullptr) {
    sample.adjustment.scale += first;
    sample.adjustment.bias += first;
  }
  return sample;
}

/// Where samples have one element per channel those are the terms, and vector kernels round them at
/// once: x - center and its square, G and G xhat. False, with nothing done, where they cannot.
template <class T>
[[nodiscard]] bool add_single_moments(const NormalizationBatch<T>& batch, const Samples& samples,
                                      const double* center, FixedPointSums& sum,
                                      FixedPointSums& sum_squares);
template <class T>
[[nodiscard]] bool add_single_gradients(const NormalizationBatch<T>& batch, const Samples& samples,
                                        const AffineView& output, const AffineView& normalization,
                                        const T* dy, FixedPointSums& sum,
                                        FixedPointSums& sum_products);
/// Whether those rounded elements to coarse steps only.
template <class T>
inline constexpr bool has_coarse_terms = !std::is_same_v<T, double>;

}  // namespace lockstep
