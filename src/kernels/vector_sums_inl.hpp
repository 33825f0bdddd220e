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

// Sums in double are added up in one order on all targets: that of vectors of so many lanes.
inline constexpr std::int64_t ordered_lanes = 16;
template <class Terms>
inline constexpr bool is_ordered = std::is_same_v<typename Terms::Sum, double>;
// Sums that do not wait for each other.
template <class Terms>
inline constexpr std::int64_t num_chains = is_ordered<Terms> ? ordered_lanes / sum_lanes<Terms> : 4;

// The sum of all lanes, in double.
template <class Terms>
HWY_INLINE double total_of(const SumVector<Terms>* chains) {
  constexpr auto num_lanes = static_cast<std::size_t>(num_chains<Terms> * sum_lanes<Terms>);
  HWY_ALIGN typename Terms::Sum stored[num_lanes];
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < num_chains<Terms>; ++v)
    hn::Store(chains[v], SumTag<Terms>(), stored + v * sum_lanes<Terms>);
  double lanes[num_lanes];
  std::copy_n(stored, num_lanes, lanes);
  for (std::size_t half = num_lanes / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// Adds `count` consecutive elements of one channel, at most max_float_additions per lane.
template <class Terms>
HWY_INLINE void add_piece(const Terms& terms, const typename Terms::Constant& coefficients,
                          std::int64_t offset, std::int64_t count, double& first, double& second) {
  constexpr std::int64_t step = sum_lanes<Terms>;
  constexpr std::int64_t chains = num_chains<Terms>;
  constexpr std::int64_t ahead = prefetch_bytes / sizeof(typename Terms::Element);
  const SumTag<Terms> tag;
  SumVector<Terms> firsts[static_cast<std::size_t>(chains)];
  SumVector<Terms> seconds[static_cast<std::size_t>(chains)];
  SumVector<Terms> a, b;
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < chains; ++v) firsts[v] = seconds[v] = hn::Zero(tag);
  std::int64_t i = 0;
  for (; i + chains * step <= count; i += chains * step) {
    terms.prefetch(offset + i + ahead, chains * step);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < chains; ++v) {
      terms.at(AllLanes(), offset + i + v * step, coefficients.at(0), a, b);
      firsts[v] = hn::Add(firsts[v], a);
      seconds[v] = hn::Add(seconds[v], b);
    }
  }
  LOCKSTEP_UNROLL
  for (std::int64_t v = 0; v < chains; ++v, i += step) {
    if (i >= count) continue;
    const FirstLanes lanes{static_cast<std::size_t>(std::min(step, count - i))};
    terms.at(lanes, offset + i, coefficients.at(0), a, b);
    firsts[v] = hn::Add(firsts[v], a);
    seconds[v] = hn::Add(seconds[v], b);
  }
  first += total_of<Terms>(firsts);
  second += total_of<Terms>(seconds);
}

template <class Terms>
void add_run(const Terms& terms, const typename Terms::Constant& coefficients, std::int64_t offset,
             std::int64_t count, double& first, double& second) {
  constexpr std::int64_t piece = (max_float_additions - 1) * num_chains<Terms> * sum_lanes<Terms>;
  for (std::int64_t i = 0; i < count; i += piece)
    add_piece(terms, coefficients, offset + i, std::min(piece, count - i), first, second);
}

// Strips are for short runs, of which a row has many.
template <class Terms>
bool is_made_of_strips(const Columns& columns) {
  if (is_ordered<Terms> && columns.outer == 1) return columns.inner < ordered_lanes;
  return columns.inner <= max_inner_of_strips;
}

template <class Terms>
void add_terms(const Terms& terms, const Columns& columns, double* first, double* second) {
  if (is_made_of_strips<Terms>(columns)) {
    constexpr std::int64_t lanes = is_ordered<Terms> ? ordered_lanes : sum_lanes<Terms>;
    constexpr std::int64_t min_width =
        is_ordered<Terms> ? 4 * ordered_lanes : vectors_per_block<Terms> * sum_lanes<Terms>;
    for_each_strip(columns, lanes, min_width,
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
