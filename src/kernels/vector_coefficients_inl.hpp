// Coefficients per channel as vectors: the same for a run, or one per element of a row.

#pragma once

#include <algorithm>

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
  for_each_run(columns, strip, [&](std::int64_t channel, std::int64_t j, std::int64_t count) {
    std::fill_n(row.values + j, count, static_cast<Wide>(value(channel)));
  });
  std::fill_n(row.values + strip.width, 64, Wide{0});
}

// The affine function in the precision of elements: what rounding takes from the center goes to the
// shift before that is rounded.
template <class Wide>
struct RoundedAffine {
  AffineView exact;

  Wide center(std::int64_t c) const { return static_cast<Wide>(exact.center[c]); }
  Wide scale(std::int64_t c) const { return static_cast<Wide>(exact.scale[c]); }
  Wide shift(std::int64_t c) const {
    const double moved = static_cast<double>(center(c)) - exact.center[c];
    return static_cast<Wide>(exact.shift[c] + moved * exact.scale[c]);
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
struct ConstantAffine {
  AffineVectors<D> vectors;

  ConstantAffine(D d, const RoundedAffine<hn::TFromD<D>>& affine, std::int64_t channel)
      : vectors{hn::Set(d, affine.center(channel)), hn::Set(d, affine.scale(channel)),
                hn::Set(d, affine.shift(channel))} {}
  HWY_INLINE const AffineVectors<D>& at(D, std::int64_t) const { return vectors; }
};

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

// The activation's parameters as vectors, and what they do to values and gradients.
template <class D>
struct ActivationVectors {
  hn::Vec<D> below, above, kept_below;
  hn::Vec<D> zero, one;

  ActivationVectors(D d, const PiecewiseLinear& activation)
      : below(hn::Set(d, static_cast<hn::TFromD<D>>(activation.below))),
        above(hn::Set(d, static_cast<hn::TFromD<D>>(activation.above))),
        kept_below(activation.is_zero_below ? hn::Zero(d) : hn::Not(hn::Zero(d))),
        zero(hn::Zero(d)),
        one(hn::Set(d, hn::TFromD<D>{1})) {}

  // Comparisons with NaN are false, so NaN passes, and a limit of NaN is none.
  HWY_INLINE hn::Vec<D> value(hn::Vec<D> z) const {
    const auto lower = hn::IfThenElse(hn::Lt(z, zero), hn::And(hn::Mul(z, below), kept_below), z);
    return hn::IfThenElse(hn::Gt(lower, above), above, lower);
  }
  HWY_INLINE hn::Vec<D> derivative(hn::Vec<D> z) const {
    const auto lower = hn::IfThenElse(hn::Le(z, zero), below, one);
    return hn::IfThenElse(hn::Ge(z, above), zero, lower);
  }
};

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
