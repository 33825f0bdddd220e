// Terms onto the grids of fixed_point.hpp, elementwise: every target gives the same bits.

#pragma once

#include "kernels/fixed_point.hpp"
#include "kernels/vector_terms_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

using GridTag = hn::ScalableTag<double>;
using StepTag = hn::RebindToSigned<GridTag>;
using GridVector = hn::Vec<GridTag>;
using StepVector = hn::Vec<StepTag>;
inline constexpr auto grid_lanes = static_cast<std::int64_t>(hn::MaxLanes(GridTag()));

HWY_INLINE StepVector steps_between(GridVector sum, GridVector rounder) {
  return hn::Sub(hn::BitCast(StepTag(), sum), hn::BitCast(StepTag(), rounder));
}

// The grids of a vector of columns; those that a kind of terms has no use for are not read.
struct GridVectors {
  GridVector coarse_rounder, fine_rounder, least;
};
struct StepVectors {
  StepVector coarse, fine, magnitude;
};

// Adds a vector of terms, as add_terms_plainly() does it.
template <TermKind kind, bool has_fine>
HWY_INLINE void add_on_grid(GridVector term, const GridVectors& grid, StepVectors& steps,
                            StepVector& outside) {
  const GridTag tag;
  if constexpr (kind == TermKind::positive)
    term = hn::IfThenElseZero(hn::Ne(term, hn::Zero(tag)), hn::Max(grid.least, term));
  const GridVector sum = hn::Add(term, grid.coarse_rounder);
  outside = hn::Or(
      outside, hn::Xor(hn::BitCast(StepTag(), sum), hn::BitCast(StepTag(), grid.coarse_rounder)));
  steps.coarse = hn::Add(steps.coarse, steps_between(sum, grid.coarse_rounder));
  if constexpr (has_fine) {
    const GridVector rest = hn::Sub(term, hn::Sub(sum, grid.coarse_rounder));
    steps.fine =
        hn::Add(steps.fine, steps_between(hn::Add(rest, grid.fine_rounder), grid.fine_rounder));
  }
  if constexpr (kind == TermKind::measured) {
    const GridVector rounder =
        hn::Mul(grid.coarse_rounder, hn::Set(tag, double{1 << magnitude_shift}));
    const StepVector size = steps_between(hn::Add(hn::Abs(term), rounder), rounder);
    const auto is_some = hn::VecFromMask(tag, hn::Ne(term, hn::Zero(tag)));
    steps.magnitude = hn::Sub(hn::Add(steps.magnitude, size), hn::BitCast(StepTag(), is_some));
  }
}

HWY_INLINE OutsideBits any_of(StepVector outside) {
  HWY_ALIGN std::int64_t lanes[hn::MaxLanes(StepTag())];
  hn::Store(outside, StepTag(), lanes);
  OutsideBits bits = 0;
  for (const std::int64_t lane : lanes) bits |= static_cast<OutsideBits>(lane);
  return bits;
}

template <TermKind kind>
OutsideBits add_terms_of(const FixedPointRow& row, const double* terms, std::int64_t count) {
  const GridTag tag;
  const StepTag step_tag;
  StepVector outside = hn::Zero(step_tag);
  std::int64_t i = 0;
  for (; i + grid_lanes <= count; i += grid_lanes) {
    const GridVectors grid{hn::LoadU(tag, row.coarse_rounder + i),
                           hn::LoadU(tag, row.fine_rounder + i), hn::LoadU(tag, row.fine_step + i)};
    StepVectors steps{hn::LoadU(step_tag, row.coarse + i), hn::LoadU(step_tag, row.fine + i),
                      hn::LoadU(step_tag, row.magnitude + i)};
    add_on_grid<kind, true>(hn::LoadU(tag, terms + i), grid, steps, outside);
    hn::StoreU(steps.coarse, step_tag, row.coarse + i);
    hn::StoreU(steps.fine, step_tag, row.fine + i);
    if constexpr (kind == TermKind::measured)
      hn::StoreU(steps.magnitude, step_tag, row.magnitude + i);
  }
  FixedPointRow rest = row;
  rest.coarse_rounder += i, rest.fine_rounder += i, rest.coarse_step += i, rest.fine_step += i;
  rest.coarse += i, rest.fine += i, rest.magnitude += i;
  return any_of(outside) | add_terms_plainly(rest, terms + i, count - i);
}

inline OutsideBits add_terms_on_grid(const FixedPointRow& row, const double* terms,
                                     std::int64_t count) {
  switch (row.kind) {
    case TermKind::any:
      return add_terms_of<TermKind::any>(row, terms, count);
    case TermKind::positive:
      return add_terms_of<TermKind::positive>(row, terms, count);
    case TermKind::measured:
      return add_terms_of<TermKind::measured>(row, terms, count);
  }
  return 0;
}

// The grids and sums of one row of columns, spread over a strip.
template <TermKind kind, bool has_fine>
struct GridRow {
  AlignedRow<double> coarse_rounder, fine_rounder, least;
  AlignedRow<std::int64_t> coarse, fine, magnitude;

  void set(const Columns& columns, const Strip& strip, const FixedPointRow& row) {
    const auto spread_over = [&](const double* values, AlignedRow<double>& target) {
      spread(
          columns, strip, [&](std::int64_t c) { return values[c]; }, target);
    };
    const auto clear = [&](AlignedRow<std::int64_t>& target) {
      std::fill_n(target.values, strip.width + grid_lanes, 0);
    };
    spread_over(row.coarse_rounder, coarse_rounder);
    clear(coarse);
    if (has_fine) spread_over(row.fine_rounder, fine_rounder), clear(fine);
    if (kind == TermKind::positive) spread_over(has_fine ? row.fine_step : row.coarse_step, least);
    if (kind == TermKind::measured) clear(magnitude);
  }
  void fold_into(const Columns& columns, const Strip& strip, const FixedPointRow& row) const {
    fold(columns, strip, coarse, row.coarse);
    if (has_fine) fold(columns, strip, fine, row.fine);
    if (kind == TermKind::measured) fold(columns, strip, magnitude, row.magnitude);
  }
  HWY_INLINE GridVectors grid(std::int64_t j) const {
    const GridTag tag;
    GridVectors result{hn::Load(tag, coarse_rounder.values + j), hn::Zero(tag), hn::Zero(tag)};
    if constexpr (has_fine) result.fine_rounder = hn::Load(tag, fine_rounder.values + j);
    if constexpr (kind == TermKind::positive) result.least = hn::Load(tag, least.values + j);
    return result;
  }
  HWY_INLINE StepVectors steps(std::int64_t j) const {
    const StepTag tag;
    StepVectors result{hn::Load(tag, coarse.values + j), hn::Zero(tag), hn::Zero(tag)};
    if constexpr (has_fine) result.fine = hn::Load(tag, fine.values + j);
    if constexpr (kind == TermKind::measured)
      result.magnitude = hn::Load(tag, magnitude.values + j);
    return result;
  }
  HWY_INLINE void keep(const StepVectors& steps, std::int64_t j) {
    const StepTag tag;
    hn::Store(steps.coarse, tag, coarse.values + j);
    if constexpr (has_fine) hn::Store(steps.fine, tag, fine.values + j);
    if constexpr (kind == TermKind::measured) hn::Store(steps.magnitude, tag, magnitude.values + j);
  }
};

// The two sums of a batch [outer, channels], of kinds of their own.
template <class Terms, TermKind first_kind, TermKind second_kind, bool has_fine>
class TermsOnGrids {
 public:
  explicit TermsOnGrids(const Terms& terms) : terms_(terms) {}

  OutsideBits add(const Columns& columns, const FixedPointRow& first, const FixedPointRow& second) {
    outside_ = hn::Zero(StepTag());
    for_each_strip(columns, grid_lanes, grid_lanes, [&](const Strip& strip) {
      terms_.set(columns, strip, coefficients_);
      first_.set(columns, strip, first);
      second_.set(columns, strip, second);
      for (std::int64_t row = 0; row < strip.num_rows; row += rows_per_group)
        add_group(rows_of(strip, row, rows_per_group));
      first_.fold_into(columns, strip, first);
      second_.fold_into(columns, strip, second);
    });
    return any_of(outside_);
  }

 private:
  void add_group(const Strip& rows) {
    std::int64_t j = 0;
    for (; j + grid_lanes <= rows.width; j += grid_lanes) add_column(AllLanes(), rows, j);
    if (j < rows.width) add_column(FirstLanes{static_cast<std::size_t>(rows.width - j)}, rows, j);
  }

  // A vector of columns over some rows.
  template <class Lanes>
  HWY_INLINE void add_column(Lanes lanes, const Strip& rows, std::int64_t j) {
    const GridVectors first_grid = first_.grid(j), second_grid = second_.grid(j);
    StepVectors first = first_.steps(j), second = second_.steps(j);
    StepVector outside = outside_;
    const auto coefficients = coefficients_.at(j);
    const std::int64_t ahead = rows_per_group * rows.stride;
    std::int64_t offset = rows.first + j;
    for (std::int64_t row = 0; row < rows.num_rows; ++row, offset += rows.stride) {
      terms_.prefetch(offset + ahead, grid_lanes);
      GridVector a, b;
      terms_.at(lanes, offset, coefficients, a, b);
      add_on_grid<first_kind, has_fine>(a, first_grid, first, outside);
      add_on_grid<second_kind, has_fine>(b, second_grid, second, outside);
    }
    first_.keep(first, j);
    second_.keep(second, j);
    outside_ = outside;
  }

  const Terms& terms_;
  typename Terms::Spread coefficients_;
  GridRow<first_kind, has_fine> first_;
  GridRow<second_kind, has_fine> second_;
  StepVector outside_;
};

// G and G xhat, for the sums that can't be corrected afterwards for what xhat is besides
// (x - center) scale.
template <class T, Branches branches>
struct NormalizedTerms {
  using Gradient = GradientTerms<T, double, branches>;

  struct Vectors {
    typename Gradient::Vectors gradient;
    GridVector shift;
  };
  struct Spread {
    typename Gradient::Spread gradient;
    AlignedRow<double> shift;
    HWY_INLINE Vectors at(std::int64_t j) const {
      return {gradient.at(j), hn::LoadU(GridTag(), shift.values + j)};
    }
  };

  Gradient gradient;

  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    gradient.set(columns, strip, target.gradient);
    const RoundedAffine<WideOf<T>>& normalization = gradient.normalization;
    spread(
        columns, strip, [&](std::int64_t c) { return normalization.exact_shift(c); }, target.shift);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    gradient.prefetch(offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, const Vectors& vectors, GridVector& first,
                     GridVector& second) const {
    gradient.at(lanes, offset, vectors.gradient, first, second);
    second = hn::Add(second, hn::Mul(first, vectors.shift));
  }
};

template <class T>
OutsideBits add_moment_terms(const VectorBatch<T>& batch, const double* center,
                             const FixedPointRow& sum, const FixedPointRow& sum_squares) {
  using Terms = MomentTerms<T, double>;
  const Terms terms{batch.x, center};
  TermsOnGrids<Terms, TermKind::any, TermKind::positive, std::is_same_v<T, double>> grids(terms);
  return grids.add(batch.columns, sum, sum_squares);
}

template <class T>
OutsideBits add_gradient_terms(const VectorBatch<T>& batch, const AffineView& output,
                               const AffineView& normalization, const T* dy,
                               const FixedPointRow& sum, const FixedPointRow& sum_products) {
  using Tag = hn::Rebind<WideOf<T>, GridTag>;
  OutsideBits outside = 0;
  visit_gate(batch.activation, [&]<Branches branches>(std::integral_constant<Branches, branches>) {
    using Terms = NormalizedTerms<T, branches>;
    const Terms terms{{batch.x,
                       dy,
                       batch.residual,
                       batch.gates,
                       {normalization},
                       {output},
                       {Tag(), batch.activation}}};
    TermsOnGrids<Terms, TermKind::measured, TermKind::measured, std::is_same_v<T, double>> grids(
        terms);
    outside = grids.add(batch.columns, sum, sum_products);
  });
  return outside;
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
