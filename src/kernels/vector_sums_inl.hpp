// Sums per channel of two terms per element, in double.

#pragma once

#include <bit>

#include "kernels/vector_coefficients_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// A "terms" object has, for elements of type Element summed up in type Sum: Constant and Spread,
// its coefficients; at(lanes, offset, coefficients, first, second), two terms per element of a
// vector; and prefetch(offset, count). The functions below add terms to sums per channel.

template <class Terms>
using SumTag = hn::ScalableTag<typename Terms::Sum>;
template <class Terms>
using SumVector = hn::Vec<SumTag<Terms>>;
template <class Terms>
inline constexpr auto sum_lanes = static_cast<std::int64_t>(hn::MaxLanes(SumTag<Terms>()));
// Vectors side by side in registers: two sums each, and coefficients beside them.
template <class Terms>
inline constexpr std::int64_t vectors_per_block = HWY_TARGET <= HWY_AVX3 ? Terms::max_vectors : 2;
// Rows per visit of a block whose sums lie in memory.
inline constexpr std::int64_t rows_per_group = 8;
// Sums of floats are not trusted with more additions than this.
inline constexpr std::int64_t max_float_additions = 64;
// How far ahead a long run is fetched.
inline constexpr std::int64_t prefetch_bytes = 4096;

template <class Sum>
struct RowSums {
  AlignedRow<Sum> first, second;

  void clear(std::int64_t width) {
    std::fill_n(first.values, width, Sum{0});
    std::fill_n(second.values, width, Sum{0});
  }
};

// target += source, up to the next whole vector.
template <class Sum>
void add_row(const AlignedRow<Sum>& source, std::int64_t width, AlignedRow<double>& target) {
  const hn::ScalableTag<double> tag;
  const hn::Rebind<Sum, decltype(tag)> source_tag;
  constexpr auto lanes = static_cast<std::int64_t>(hn::MaxLanes(tag));
  for (std::int64_t j = 0; j < width; j += lanes) {
    const auto terms = converted(tag, hn::Load(source_tag, source.values + j));
    hn::Store(hn::Add(hn::Load(tag, target.values + j), terms), tag, target.values + j);
  }
}

// Adds a column of vectors, `num_vectors` wide, over some rows.
template <std::int64_t num_vectors, class Terms, class Lanes>
HWY_INLINE void add_block(const Terms& terms, Lanes lanes, const Strip& rows, std::int64_t ahead,
                          const typename Terms::Spread& coefficients, std::int64_t j,
                          RowSums<typename Terms::Sum>& sums) {
  constexpr std::int64_t step = sum_lanes<Terms>;
  const SumTag<Terms> tag;
  SumVector<Terms> first[static_cast<std::size_t>(num_vectors)];
  SumVector<Terms> second[static_cast<std::size_t>(num_vectors)];
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_vectors; ++v) {
    first[v] = hn::Load(tag, sums.first.values + j + v * step);
    second[v] = hn::Load(tag, sums.second.values + j + v * step);
  }
  std::int64_t offset = rows.first + j;
  for (std::int64_t row = 0; row < rows.num_rows; ++row, offset += rows.stride) {
    terms.prefetch(offset + ahead, num_vectors * step);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < num_vectors; ++v) {
      SumVector<Terms> a, b;
      terms.at(lanes, offset + v * step, coefficients.at(j + v * step), a, b);
      first[v] = hn::Add(first[v], a);
      second[v] = hn::Add(second[v], b);
    }
  }
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_vectors; ++v) {
    hn::Store(first[v], tag, sums.first.values + j + v * step);
    hn::Store(second[v], tag, sums.second.values + j + v * step);
  }
}

template <class Terms>
void add_group(const Terms& terms, const Strip& rows, std::int64_t ahead,
               const typename Terms::Spread& coefficients, RowSums<typename Terms::Sum>& sums) {
  constexpr std::int64_t block = vectors_per_block<Terms>;
  constexpr std::int64_t step = sum_lanes<Terms>;
  std::int64_t j = 0;
  for (; j + block * step <= rows.width; j += block * step)
    add_block<block>(terms, AllLanes(), rows, ahead, coefficients, j, sums);
  for (; j + step <= rows.width; j += step)
    add_block<1>(terms, AllLanes(), rows, ahead, coefficients, j, sums);
  if (j < rows.width)
    add_block<1>(terms, FirstLanes{static_cast<std::size_t>(rows.width - j)}, rows, ahead,
                 coefficients, j, sums);
}

Strip rows_of(const Strip& strip, std::int64_t first_row, std::int64_t most) {
  Strip rows = strip;
  rows.first += first_row * strip.stride;
  rows.num_rows = std::min(most, strip.num_rows - first_row);
  return rows;
}

// Adds up to max_float_additions rows.
template <class Terms>
void add_tile(const Terms& terms, const Strip& tile, const typename Terms::Spread& coefficients,
              RowSums<typename Terms::Sum>& sums) {
  const bool fits_registers = tile.width <= vectors_per_block<Terms> * sum_lanes<Terms>;
  if (fits_registers) {
    constexpr std::int64_t ahead = prefetch_bytes / sizeof(typename Terms::Element);
    return add_group(terms, tile, ahead, coefficients, sums);
  }
  for (std::int64_t row = 0; row < tile.num_rows; row += rows_per_group)
    add_group(terms, rows_of(tile, row, rows_per_group), rows_per_group * tile.stride, coefficients,
              sums);
}

template <class Terms>
void add_strip(const Terms& terms, const Columns& columns, const Strip& strip, double* first,
               double* second) {
  const std::int64_t padded = strip.width + sum_lanes<Terms>;
  typename Terms::Spread coefficients;
  terms.set(columns, strip, coefficients);
  RowSums<double> total;
  total.clear(padded);
  RowSums<typename Terms::Sum> sums;
  for (std::int64_t row = 0; row < strip.num_rows; row += max_float_additions) {
    sums.clear(padded);
    add_tile(terms, rows_of(strip, row, max_float_additions), coefficients, sums);
    add_row(sums.first, strip.width, total.first);
    add_row(sums.second, strip.width, total.second);
  }
  fold(columns, strip, total.first, first);
  fold(columns, strip, total.second, second);
}

// The sum of all lanes, in double.
HWY_INLINE double total_of(hn::Vec<hn::ScalableTag<double>> sums) {
  return hn::GetLane(hn::SumOfLanes(hn::ScalableTag<double>(), sums));
}
HWY_INLINE double total_of(hn::Vec<hn::ScalableTag<float>> sums) {
  const hn::ScalableTag<double> tag;
#if HWY_TARGET == HWY_SCALAR
  return total_of(hn::PromoteTo(tag, sums));
#else
  const hn::Half<hn::ScalableTag<float>> half;
  return total_of(hn::Add(hn::PromoteTo(tag, hn::LowerHalf(half, sums)),
                          hn::PromoteTo(tag, hn::UpperHalf(half, sums))));
#endif
}

inline constexpr std::int64_t num_chains = 4;  // additions that do not wait for each other

// Adds `count` consecutive elements of one channel, at most max_float_additions per lane.
template <class Terms>
HWY_INLINE void add_piece(const Terms& terms, const typename Terms::Constant& coefficients,
                          std::int64_t offset, std::int64_t count, double& first, double& second) {
  constexpr std::int64_t step = sum_lanes<Terms>;
  constexpr std::int64_t ahead = prefetch_bytes / sizeof(typename Terms::Element);
  const SumTag<Terms> tag;
  SumVector<Terms> firsts[num_chains], seconds[num_chains], a, b;
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_chains; ++v) firsts[v] = seconds[v] = hn::Zero(tag);
  std::int64_t i = 0;
  for (; i + num_chains * step <= count; i += num_chains * step) {
    terms.prefetch(offset + i + ahead, num_chains * step);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < num_chains; ++v) {
      terms.at(AllLanes(), offset + i + v * step, coefficients.at(0), a, b);
      firsts[v] = hn::Add(firsts[v], a);
      seconds[v] = hn::Add(seconds[v], b);
    }
  }
  for (; i < count; i += step) {
    const FirstLanes lanes{static_cast<std::size_t>(std::min(step, count - i))};
    terms.at(lanes, offset + i, coefficients.at(0), a, b);
    firsts[0] = hn::Add(firsts[0], a);
    seconds[0] = hn::Add(seconds[0], b);
  }
  first += total_of(hn::Add(hn::Add(firsts[0], firsts[1]), hn::Add(firsts[2], firsts[3])));
  second += total_of(hn::Add(hn::Add(seconds[0], seconds[1]), hn::Add(seconds[2], seconds[3])));
}

template <class Terms>
void add_run(const Terms& terms, const typename Terms::Constant& coefficients, std::int64_t offset,
             std::int64_t count, double& first, double& second) {
  constexpr std::int64_t piece = (max_float_additions - num_chains) * num_chains * sum_lanes<Terms>;
  for (std::int64_t i = 0; i < count; i += piece)
    add_piece(terms, coefficients, offset + i, std::min(piece, count - i), first, second);
}

template <class Terms>
void add_terms(const Terms& terms, const Columns& columns, double* first, double* second) {
  if (columns.inner <= max_inner_of_strips) {
    for_each_strip(columns, sum_lanes<Terms>, vectors_per_block<Terms> * sum_lanes<Terms>,
                   [&](const Strip& strip) { add_strip(terms, columns, strip, first, second); });
    return;
  }
  std::int64_t offset = 0;
  for (std::int64_t outer = 0; outer < columns.outer; ++outer)
    for (std::int64_t c = 0; c < columns.channels; ++c, offset += columns.inner)
      add_run(terms, terms.constant(c), offset, columns.inner, first[c], second[c]);
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
