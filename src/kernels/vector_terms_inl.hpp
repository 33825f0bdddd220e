// What is summed up: moments of x, and what backward needs.

#pragma once

#include "kernels/vector_activation_inl.hpp"
#include "kernels/vector_sums_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// x - center and its square.
template <class T, class SumType>
struct MomentTerms {
  using Element = T;
  using Sum = SumType;
  using Tag = hn::ScalableTag<Sum>;
  using Vector = hn::Vec<Tag>;
  static constexpr std::int64_t max_vectors = std::is_same_v<Sum, float> ? 4 : 8;

  struct Constant {
    Vector center;
    HWY_INLINE Vector at(std::int64_t) const { return center; }
  };
  struct Spread {
    AlignedRow<Sum> center;
    HWY_INLINE Vector at(std::int64_t j) const { return hn::LoadU(Tag(), center.values + j); }
  };

  const T* x;
  const double* center;

  Constant constant(std::int64_t c) const { return {hn::Set(Tag(), static_cast<Sum>(center[c]))}; }
  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    spread(
        columns, strip, [&](std::int64_t c) { return center[c]; }, target.center);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(x + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, Vector k, Vector& first,
                     Vector& second) const {
    const Tag tag;
    const hn::Rebind<WideOf<T>, Tag> wide_tag;
    first = lanes.kept(tag, hn::Sub(converted(tag, lanes.load(wide_tag, x + offset)), k));
    second = hn::Mul(first, first);
  }
};

// G and G (x - center) scale, for another affine function than that before the activation.
template <class T, class SumType, Branches branches>
struct GradientTerms {
  using Element = T;
  using Sum = SumType;
  using Wide = WideOf<T>;
  static constexpr bool is_gated = branches != Branches::linear;
  using Tag = hn::ScalableTag<Sum>;
  using WideTag = hn::Rebind<Wide, Tag>;
  using Vector = hn::Vec<Tag>;
  static constexpr std::int64_t max_vectors = 4;

  struct Vectors {
    Vector center, scale;
    AffineVectors<WideTag> affine;
  };
  struct Constant {
    Vectors vectors;
    HWY_INLINE const Vectors& at(std::int64_t) const { return vectors; }
  };
  struct Spread {
    AlignedRow<Sum> center, scale;
    SpreadAffine<Wide> affine;
    HWY_INLINE Vectors at(std::int64_t j) const {
      return {hn::LoadU(Tag(), center.values + j), hn::LoadU(Tag(), scale.values + j),
              affine.at(WideTag(), j)};
    }
  };

  const T* x;
  const T* dy;
  const T* residual;
  Gates gates;
  RoundedAffine<Wide> normalization;
  RoundedAffine<Wide> affine;
  ActivationVectors<WideTag> activation;

  Constant constant(std::int64_t c) const {
    const Tag tag;
    return {{hn::Set(tag, Sum{normalization.center(c)}), hn::Set(tag, Sum{normalization.scale(c)}),
             constant_affine(WideTag(), affine, c)}};
  }
  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    spread(
        columns, strip, [&](std::int64_t c) { return normalization.center(c); }, target.center);
    spread(
        columns, strip, [&](std::int64_t c) { return normalization.scale(c); }, target.scale);
    if (is_gated) target.affine.set(columns, strip, affine);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(x + offset, count);
    HWY_NAMESPACE::prefetch(dy + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, const Vectors& coefficients, Vector& first,
                     Vector& second) const {
    const Tag tag;
    const WideTag wide_tag;
    const auto value = lanes.load(wide_tag, x + offset);
    auto gradient = lanes.load(wide_tag, dy + offset);
    if constexpr (is_gated)
      gradient = gated_gradient<branches>(
          lanes, activation, gates, residual, offset, gradient,
          [&] { return coefficients.affine.value(hn::Sub(value, coefficients.affine.center)); });
    const auto distance = hn::Sub(converted(tag, value), coefficients.center);
    first = lanes.kept(tag, converted(tag, gradient));
    second = lanes.kept(tag, hn::Mul(first, hn::Mul(distance, coefficients.scale)));
  }
};

template <class T, class Sum>
void add_sums(const VectorBatch<T>& batch, const double* center, double* sum, double* sum_squares) {
  add_terms(MomentTerms<T, Sum>{batch.x, center}, batch.columns, sum, sum_squares);
}

template <class T, class Sum>
void add_gradient_sums(const VectorBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy, double* sum,
                       double* sum_products) {
  using Tag = hn::Rebind<WideOf<T>, hn::ScalableTag<Sum>>;
  visit_gate(batch.activation, [&]<Branches branches>(std::integral_constant<Branches, branches>) {
    add_terms(GradientTerms<T, Sum, branches>{batch.x,
                                              dy,
                                              batch.residual,
                                              batch.gates,
                                              {normalization},
                                              {output},
                                              {Tag(), batch.activation}},
              batch.columns, sum, sum_products);
  });
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
