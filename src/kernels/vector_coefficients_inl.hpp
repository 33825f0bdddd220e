// Coefficients per channel as vectors: the same for a run, or one per element of a row.

#pragma once

#include <algorithm>
#include <numeric>

#include "kernels/strips.hpp"
#include "kernels/vector_normalization.hpp"
#include "kernels/vector_storage_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// Strips end within an array of this many elements, padding included.
inline constexpr std::int64_t row_capacity = max_strip_width + 64;

template <class Wide>
struct AlignedRow {
  alignas(64) Wide values[row_capacity];
};

// values[j] = value(channel of j), and zeros up to the next whole vector.
template <class Wide, class Value>
void spread(const Columns& columns, const Strip& strip, Value&& value, AlignedRow<Wide>& row) {
  Wide* const values = row.values;
  const std::int64_t period = std::min(strip.width, columns.channels * columns.inner);
  const std::int64_t first = strip.first_channel;
  if (columns.inner == 1)
    for (std::int64_t j = 0; j < period; ++j) values[j] = static_cast<Wide>(value(first + j));
  else
    for (std::int64_t j = 0; j < period; j += columns.inner)
      std::fill_n(values + j, columns.inner, static_cast<Wide>(value(first + j / columns.inner)));
  for (std::int64_t j = period; j < strip.width; j += period)
    std::copy_n(values, period, values + j);
  std::fill_n(values + strip.width, 64, Wide{0});
}

// Integers that nobody will read may overflow.
template <class Sum>
Sum sum_of_two(Sum a, Sum b) {
  if constexpr (std::is_integral_v<Sum>)
    return static_cast<Sum>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  else
    return a + b;
}

// sums[channel of j] += values[j].
template <class Sum>
void fold(const Columns& columns, const Strip& strip, const AlignedRow<Sum>& row, Sum* sums) {
  const std::int64_t period = std::min(strip.width, columns.channels * columns.inner);
  Sum* const first = sums + strip.first_channel;
  for (std::int64_t start = 0; start < strip.width; start += period) {
    const Sum* values = row.values + start;
    if (columns.inner == 1)
      for (std::int64_t j = 0; j < period; ++j) first[j] = sum_of_two(first[j], values[j]);
    else
      for (std::int64_t c = 0; c < period / columns.inner; ++c, values += columns.inner)
        first[c] = sum_of_two(
            first[c], std::accumulate(values, values + columns.inner, Sum{0}, sum_of_two<Sum>));
  }
}

// The affine function in the precision of elements: what rounding takes from the center goes to the
// shift before that is rounded.
template <class Wide>
struct RoundedAffine {
  AffineView exact;

  Wide center(std::int64_t c) const { return static_cast<Wide>(exact.center[c]); }
  Wide scale(std::int64_t c) const { return static_cast<Wide>(exact.scale[c]); }
  Wide shift(std::int64_t c) const { return static_cast<Wide>(exact_shift(c)); }
  double exact_shift(std::int64_t c) const {
    const double moved = static_cast<double>(center(c)) - exact.center[c];
    return exact.shift[c] + moved * exact.scale[c];
  }
};

template <class D>
struct AffineVectors {
  hn::Vec<D> center, scale, shift;

  HWY_INLINE hn::Vec<D> value(hn::Vec<D> distance) const {
    return hn::Add(hn::Mul(distance, scale), shift);
  }
};

template <class D>
AffineVectors<D> constant_affine(D d, const RoundedAffine<hn::TFromD<D>>& affine,
                                 std::int64_t channel) {
  return {hn::Set(d, affine.center(channel)), hn::Set(d, affine.scale(channel)),
          hn::Set(d, affine.shift(channel))};
}

template <class Wide>
struct SpreadAffine {
  AlignedRow<Wide> center, scale, shift;

  void set(const Columns& columns, const Strip& strip, const RoundedAffine<Wide>& affine) {
    spread(
        columns, strip, [&](std::int64_t c) { return affine.center(c); }, center);
    spread(
        columns, strip, [&](std::int64_t c) { return affine.scale(c); }, scale);
    spread(
        columns, strip, [&](std::int64_t c) { return affine.shift(c); }, shift);
  }
  template <class D>
  HWY_INLINE AffineVectors<D> at(D d, std::int64_t j) const {
    return {hn::LoadU(d, center.values + j), hn::LoadU(d, scale.values + j),
            hn::LoadU(d, shift.values + j)};
  }
};

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
