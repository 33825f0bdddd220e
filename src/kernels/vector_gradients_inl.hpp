// The pass that writes the gradients of input and residual.

#pragma once

#include "kernels/vector_apply_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// The coefficients a, p and q, where p (x - center) + q is for the center that elements are rounded
// from.
template <class Wide>
struct RoundedGradient {
  FactoredGradientView exact;
  RoundedAffine<Wide> affine;

  Wide a(std::int64_t c) const {
    return exact.a == nullptr ? Wide{0} : static_cast<Wide>(exact.a[c]);
  }
  Wide p(std::int64_t c) const {
    return exact.p == nullptr ? Wide{0} : static_cast<Wide>(exact.p[c]);
  }
  Wide q(std::int64_t c) const {
    if (exact.p == nullptr) return Wide{0};
    const double moved = static_cast<double>(affine.center(c)) - exact.center[c];
    return static_cast<Wide>(exact.q[c] + moved * exact.p[c]);
  }
};

template <class D>
struct GradientVectors {
  AffineVectors<D> affine;
  hn::Vec<D> a, p, q;
};

// dx = a (G + (p (x - center) + q)), for G = dy behind the activation.
template <class T, Branches branches, bool has_mean_terms>
struct GradientMap {
  using Element = T;
  using Tag = hn::ScalableTag<WideOf<T>>;
  static constexpr bool is_gated = branches != Branches::linear;

  struct Constant {
    GradientVectors<Tag> vectors;
    HWY_INLINE const GradientVectors<Tag>& at(std::int64_t) const { return vectors; }
  };
  struct Spread {
    SpreadAffine<WideOf<T>> affine;
    AlignedRow<WideOf<T>> a, p, q;
    HWY_INLINE GradientVectors<Tag> at(std::int64_t j) const {
      const Tag tag;
      return {affine.at(tag, j), hn::LoadU(tag, a.values + j), hn::LoadU(tag, p.values + j),
              hn::LoadU(tag, q.values + j)};
    }
  };

  const T* x;
  const T* dy;
  const T* residual;
  T* dx;
  T* residual_gradient;
  const T* streamed;
  Gates gates;
  RoundedGradient<WideOf<T>> gradient;
  ActivationVectors<Tag> activation;

  Constant constant(std::int64_t c) const {
    const Tag tag;
    return {{constant_affine(tag, gradient.affine, c), hn::Set(tag, gradient.a(c)),
             hn::Set(tag, gradient.p(c)), hn::Set(tag, gradient.q(c))}};
  }
  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    target.affine.set(columns, strip, gradient.affine);
    spread(
        columns, strip, [&](std::int64_t c) { return gradient.a(c); }, target.a);
    spread(
        columns, strip, [&](std::int64_t c) { return gradient.p(c); }, target.p);
    spread(
        columns, strip, [&](std::int64_t c) { return gradient.q(c); }, target.q);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(dy + offset, count);
    if (is_gated || has_mean_terms) HWY_NAMESPACE::prefetch(x + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, const GradientVectors<Tag>& vectors) const {
    const Tag tag;
    auto output_gradient = lanes.load(tag, dy + offset);
    auto distance = hn::Zero(tag);
    if constexpr (is_gated || has_mean_terms)
      distance = hn::Sub(lanes.load(tag, x + offset), vectors.affine.center);
    if constexpr (is_gated)
      output_gradient =
          gated_gradient<branches>(lanes, activation, gates, residual, offset, output_gradient,
                                   [&] { return vectors.affine.value(distance); });
    if (residual_gradient != nullptr) lanes.store(tag, output_gradient, residual_gradient + offset);
    if (dx == nullptr) return;
    auto result = output_gradient;
    if constexpr (has_mean_terms)
      result = hn::Add(result, hn::Add(hn::Mul(vectors.p, distance), vectors.q));
    result = hn::Mul(vectors.a, result);
    lanes.store(tag, result, dx + offset);
  }
};

// The output whose alignment all outputs share, if it is worth while and none is an input.
template <class T>
const T* streamed_of(const VectorBatch<T>& batch, const T* dy, const T* dx,
                     const T* residual_gradient) {
  const auto is_input = [&](const T* output) {
    return output != nullptr && (output == dy || output == batch.x || output == batch.residual);
  };
  if (is_input(dx) || is_input(residual_gradient) || !is_worth_streaming(batch)) return nullptr;
  if (dx == nullptr) return residual_gradient;
  const bool agree = residual_gradient == nullptr || misfit_of(dx) == misfit_of(residual_gradient);
  return agree ? dx : nullptr;
}

template <class T>
void apply_input_gradient(const VectorBatch<T>& batch, const AffineView& output,
                          const FactoredGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient) {
  const auto run = [&]<Branches branches>(std::integral_constant<Branches, branches>) {
    const auto run_with = [&]<bool has_mean_terms>(std::bool_constant<has_mean_terms>) {
      map_batch(
          GradientMap<T, branches, has_mean_terms>{
              batch.x,
              dy,
              batch.residual,
              dx,
              residual_gradient,
              streamed_of<T>(batch, dy, dx, residual_gradient),
              batch.gates,
              {gradient, {output}},
              {hn::ScalableTag<WideOf<T>>(), batch.activation}},
          batch);
    };
    if (gradient.p != nullptr && dx != nullptr)
      run_with(std::true_type());
    else
      run_with(std::false_type());
  };
  visit_gate(batch.activation, run);
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
