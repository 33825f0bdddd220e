// Sums per channel of two terms per element, in double.

#pragma once

#include <bit>

#include "kernels/vector_coefficients_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// A "terms" object has, for elements of type Terms::Element: Constant and Spread, its coefficients;
// at(lanes, offset, coefficients, first, second), the terms of a vector of elements; and
// prefetch(offset, count). The functions below add terms to sums per channel.

inline constexpr auto sum_lanes = static_cast<std::int64_t>(hn::MaxLanes(SumTag()));
// Vectors side by side in registers: two sums each, and coefficients beside them.
template <class Terms>
inline constexpr std::int64_t vectors_per_block = HWY_TARGET <= HWY_AVX3 ? Terms::max_vectors : 2;
// Rows per visit of a block whose sums lie in memory.
inline constexpr std::int64_t rows_per_group = 8;
// How far ahead a long run is fetched.
inline constexpr std::int64_t prefetch_bytes = 4096;

struct RowSums {
  AlignedRow<double> first, second;
};

// Adds a column of vectors, `num_vectors` wide, over some rows.
template <std::int64_t num_vectors, class Terms, class Lanes>
HWY_INLINE void add_block(const Terms& terms, Lanes lanes, const Strip& rows, std::int64_t ahead,
                          const typename Terms::Spread& coefficients, std::int64_t j,
                          RowSums& sums) {
  const SumTag tag;
  SumVector first[static_cast<std::size_t>(num_vectors)];
  SumVector second[static_cast<std::size_t>(num_vectors)];
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_vectors; ++v) {
    first[v] = hn::Load(tag, sums.first.values + j + v * sum_lanes);
    second[v] = hn::Load(tag, sums.second.values + j + v * sum_lanes);
  }
  std::int64_t offset = rows.first + j;
  for (std::int64_t row = 0; row < rows.num_rows; ++row, offset += rows.stride) {
    terms.prefetch(offset + ahead, num_vectors * sum_lanes);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < num_vectors; ++v) {
      SumVector a, b;
      terms.at(lanes, offset + v * sum_lanes, coefficients.at(j + v * sum_lanes), a, b);
      first[v] = hn::Add(first[v], a);
      second[v] = hn::Add(second[v], b);
    }
  }
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_vectors; ++v) {
    hn::Store(first[v], tag, sums.first.values + j + v * sum_lanes);
    hn::Store(second[v], tag, sums.second.values + j + v * sum_lanes);
  }
}

template <class Terms>
void add_group(const Terms& terms, const Strip& rows, std::int64_t ahead,
               const typename Terms::Spread& coefficients, RowSums& sums) {
  constexpr std::int64_t block = vectors_per_block<Terms>;
  std::int64_t j = 0;
  for (; j + block * sum_lanes <= rows.width; j += block * sum_lanes)
    add_block<block>(terms, AllLanes(), rows, ahead, coefficients, j, sums);
  for (; j + sum_lanes <= rows.width; j += sum_lanes)
    add_block<1>(terms, AllLanes(), rows, ahead, coefficients, j, sums);
  if (j < rows.width)
    add_block<1>(terms, FirstLanes{static_cast<std::size_t>(rows.width - j)}, rows, ahead,
                 coefficients, j, sums);
}

template <class Terms>
void add_strip(const Terms& terms, const Columns& columns, const Strip& strip, double* first,
               double* second) {
  typename Terms::Spread coefficients;
  terms.set(columns, strip, coefficients);
  RowSums sums;
  std::fill_n(sums.first.values, strip.width + sum_lanes, 0.0);
  std::fill_n(sums.second.values, strip.width + sum_lanes, 0.0);
  const bool fits_registers = strip.width <= vectors_per_block<Terms> * sum_lanes;
  const std::int64_t group =
      fits_registers ? std::max<std::int64_t>(strip.num_rows, 1) : rows_per_group;
  const std::int64_t ahead =
      fits_registers ? prefetch_bytes / static_cast<std::int64_t>(sizeof(typename Terms::Element))
                     : group * strip.stride;
  for (std::int64_t row = 0; row < strip.num_rows; row += group) {
    Strip rows = strip;
    rows.first += row * strip.stride;
    rows.num_rows = std::min(group, strip.num_rows - row);
    add_group(terms, rows, ahead, coefficients, sums);
  }
  for_each_run(columns, strip, [&](std::int64_t channel, std::int64_t j, std::int64_t count) {
    for (std::int64_t i = j; i < j + count; ++i) {
      first[channel] += sums.first.values[i];
      second[channel] += sums.second.values[i];
    }
  });
}

// Adds `count` consecutive elements of one channel.
template <class Terms>
HWY_INLINE void add_run(const Terms& terms, const typename Terms::Constant& coefficients,
                        std::int64_t offset, std::int64_t count, double& first, double& second) {
  constexpr std::int64_t num_chains = 4;  // as many additions wait for each other
  constexpr std::int64_t ahead = prefetch_bytes / sizeof(typename Terms::Element);
  const SumTag tag;
  SumVector firsts[num_chains], seconds[num_chains], a, b;
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_chains; ++v) firsts[v] = seconds[v] = hn::Zero(tag);
  std::int64_t i = 0;
  for (; i + num_chains * sum_lanes <= count; i += num_chains * sum_lanes) {
    terms.prefetch(offset + i + ahead, num_chains * sum_lanes);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < num_chains; ++v) {
      terms.at(AllLanes(), offset + i + v * sum_lanes, coefficients.at(0), a, b);
      firsts[v] = hn::Add(firsts[v], a);
      seconds[v] = hn::Add(seconds[v], b);
    }
  }
  for (; i < count; i += sum_lanes) {
    const FirstLanes lanes{static_cast<std::size_t>(std::min(sum_lanes, count - i))};
    terms.at(lanes, offset + i, coefficients.at(0), a, b);
    firsts[0] = hn::Add(firsts[0], a);
    seconds[0] = hn::Add(seconds[0], b);
  }
  const auto total = [&](SumVector(&v)[num_chains]) HWY_ATTR {
    return hn::GetLane(hn::SumOfLanes(tag, hn::Add(hn::Add(v[0], v[1]), hn::Add(v[2], v[3]))));
  };
  first += total(firsts);
  second += total(seconds);
}

template <class Terms>
void add_terms(const Terms& terms, const Columns& columns, double* first, double* second) {
  if (columns.inner <= max_inner_of_strips) {
    for_each_strip(columns, sum_lanes, vectors_per_block<Terms> * sum_lanes,
                   [&](const Strip& strip) { add_strip(terms, columns, strip, first, second); });
    return;
  }
  std::int64_t offset = 0;
  for (std::int64_t outer = 0; outer < columns.outer; ++outer)
    for (std::int64_t c = 0; c < columns.channels; ++c, offset += columns.inner)
      add_run(terms, terms.constant(c), offset, columns.inner, first[c], second[c]);
}

// x - center and its square.
template <class T>
struct MomentTerms {
  using Element = T;
  static constexpr std::int64_t max_vectors = 8;

  struct Constant {
    SumVector center;
    HWY_INLINE SumVector at(std::int64_t) const { return center; }
  };
  struct Spread {
    AlignedRow<double> center;
    HWY_INLINE SumVector at(std::int64_t j) const { return hn::LoadU(SumTag(), center.values + j); }
  };

  const T* x;
  const double* center;

  Constant constant(std::int64_t c) const { return {hn::Set(SumTag(), center[c])}; }
  void set(const Columns& columns, const Strip& strip, Spread& spread_center) const {
    spread(
        columns, strip, [&](std::int64_t c) { return center[c]; }, spread_center.center);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(x + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, SumVector k, SumVector& first,
                     SumVector& second) const {
    const SumTag tag;
    first = lanes.kept(tag, hn::Sub(in_double(lanes.load(SumWideTag<T>(), x + offset)), k));
    second = hn::Mul(first, first);
  }
};

// G and G (x - center).
template <class T, bool is_gated>
struct GradientTerms {
  using Element = T;
  using WideTag = SumWideTag<T>;
  static constexpr std::int64_t max_vectors = 4;

  struct Vectors {
    SumVector center;
    AffineVectors<WideTag> affine;
  };
  struct Constant {
    Vectors vectors;
    HWY_INLINE const Vectors& at(std::int64_t) const { return vectors; }
  };
  struct Spread {
    AlignedRow<double> center;
    SpreadAffine<WideOf<T>> affine;
    HWY_INLINE Vectors at(std::int64_t j) const {
      return {hn::LoadU(SumTag(), center.values + j), affine.at(WideTag(), j)};
    }
  };

  const T* x;
  const T* dy;
  const T* residual;
  const double* center;
  RoundedAffine<WideOf<T>> affine;
  ActivationVectors<WideTag> activation;

  Constant constant(std::int64_t c) const {
    return {{hn::Set(SumTag(), center[c]), ConstantAffine<WideTag>(WideTag(), affine, c).vectors}};
  }
  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    spread(
        columns, strip, [&](std::int64_t c) { return center[c]; }, target.center);
    if (is_gated) target.affine.set(columns, strip, affine);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(x + offset, count);
    HWY_NAMESPACE::prefetch(dy + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, const Vectors& coefficients,
                     SumVector& first, SumVector& second) const {
    const SumTag tag;
    const WideTag wide_tag;
    const auto value = lanes.load(wide_tag, x + offset);
    auto gradient = lanes.load(wide_tag, dy + offset);
    if constexpr (is_gated) {
      const auto& [center_vector, scale, shift] = coefficients.affine;
      auto z = hn::Add(hn::Mul(hn::Sub(value, center_vector), scale), shift);
      if (residual != nullptr) z = hn::Add(z, lanes.load(wide_tag, residual + offset));
      gradient = hn::Mul(gradient, activation.derivative(z));
    }
    first = lanes.kept(tag, in_double(gradient));
    second = lanes.kept(tag, hn::Mul(first, hn::Sub(in_double(value), coefficients.center)));
  }
};

template <class T>
void add_sums(const VectorBatch<T>& batch, const double* center, double* sum, double* sum_squares) {
  add_terms(MomentTerms<T>{batch.x, center}, batch.columns, sum, sum_squares);
}

template <class T>
void add_gradient_sums(const VectorBatch<T>& batch, const AffineView& output, const double* center,
                       const T* dy, double* sum, double* sum_products) {
  const auto add = [&]<bool is_gated>(std::bool_constant<is_gated>) HWY_ATTR {
    add_terms(
        GradientTerms<T, is_gated>{
            batch.x, dy, batch.residual, center, {output}, {SumWideTag<T>(), batch.activation}},
        batch.columns, sum, sum_products);
  };
  if (batch.activation.is_linear)
    add(std::false_type());
  else
    add(std::true_type());
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
