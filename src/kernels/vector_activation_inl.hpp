// What activations do to vectors of values and gradients.

#pragma once

#include "kernels/activation.hpp"
#include "kernels/vector_normalization.hpp"
#include "kernels/vector_storage_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

enum class Branches { linear, relu, piecewise, other };

inline Branches branches_of(const VectorActivation& activation) {
  if (activation.other != nullptr) return Branches::other;
  if (activation.is_linear) return Branches::linear;
  const bool has_limit = activation.above < std::numeric_limits<double>::infinity();
  return activation.is_zero_below && !has_limit ? Branches::relu : Branches::piecewise;
}

// Calls visit() with the branches that gradients know as a constant.
template <class Visit>
void visit_gate(const VectorActivation& activation, Visit&& visit) {
  switch (branches_of(activation)) {
    case Branches::linear:
      return visit(std::integral_constant<Branches, Branches::linear>());
    case Branches::relu:
    case Branches::piecewise:
      return visit(std::integral_constant<Branches, Branches::piecewise>());
    case Branches::other:
      return visit(std::integral_constant<Branches, Branches::other>());
  }
}

// Some values of a vector in double, for functions of one number, and back.
template <class D>
struct LooseLanes {
  double values[hn::MaxLanes(D())] = {};

  template <class Lanes>
  LooseLanes(D d, Lanes lanes, hn::Vec<D> from) {
    HWY_ALIGN hn::TFromD<D> buffer[hn::MaxLanes(D())];
    hn::Store(from, d, buffer);
    std::copy_n(buffer, lanes.size(d), values);
  }
  [[nodiscard]] hn::Vec<D> vector(D d) const {
    HWY_ALIGN hn::TFromD<D> buffer[hn::MaxLanes(D())];
    for (std::size_t i = 0; i < hn::MaxLanes(d); ++i)
      buffer[i] = static_cast<hn::TFromD<D>>(values[i]);
    return hn::Load(d, buffer);
  }
};

// Gates of a vector whose first element is number `offset`; bits of other lanes are 0. A vector
// begins within a byte where rows do, or where outputs are not aligned.
template <class D, class Lanes>
HWY_INLINE hn::Mask<D> load_gates(D d, Lanes lanes, const Gates& gates, std::int64_t offset) {
  const auto position = static_cast<std::uint64_t>(gates.first + offset);
  std::uint64_t bits;
  std::memcpy(&bits, gates.bits + position / 8, sizeof(bits));
  bits >>= position % 8;
  bits &= (std::uint64_t{1} << lanes.size(d)) - 1;
  return hn::LoadMaskBits(d, reinterpret_cast<const std::uint8_t*>(&bits));
}
template <class D, class Lanes>
HWY_INLINE void store_gates(D d, Lanes lanes, hn::Mask<D> mask, std::uint8_t* gates,
                            std::int64_t offset) {
  const auto position = static_cast<std::uint64_t>(offset);
  std::uint64_t bits = 0;
  hn::StoreMaskBits(d, mask, reinterpret_cast<std::uint8_t*>(&bits));
  std::uint8_t* const target = gates + position / 8;
  if (hn::MaxLanes(d) % 8 == 0 && lanes.size(d) == hn::MaxLanes(d) && position % 8 == 0) {
    std::memcpy(target, &bits, hn::MaxLanes(d) / 8);
    return;
  }
  const std::uint32_t used = (1U << lanes.size(d)) - 1;
  const std::uint64_t shift = position % 8;
  std::uint32_t word;
  std::memcpy(&word, target, sizeof(word));
  word = (word & ~(used << shift)) | (static_cast<std::uint32_t>(bits) & used) << shift;
  std::memcpy(target, &word, sizeof(word));
}

template <class D>
class ActivationVectors {
 public:
  ActivationVectors(D d, const VectorActivation& activation)
      : below_(hn::Set(d, static_cast<hn::TFromD<D>>(activation.below))),
        above_(hn::Set(d, static_cast<hn::TFromD<D>>(activation.above))),
        kept_below_(activation.is_zero_below ? hn::Zero(d) : hn::Not(hn::Zero(d))),
        one_(hn::Set(d, hn::TFromD<D>{1})),
        activation_(activation) {}

  // Comparisons with NaN are false, so NaN passes, and a limit of NaN is none.
  template <Branches branches, class Lanes>
  HWY_INLINE hn::Vec<D> value(Lanes lanes, hn::Vec<D> z) const {
    const D d;
    if constexpr (branches == Branches::linear) {
      return z;
    } else if constexpr (branches == Branches::relu) {
      return hn::IfThenElse(hn::Lt(z, hn::Zero(d)), hn::Zero(d), z);
    } else if constexpr (branches == Branches::piecewise) {
      const auto scaled = hn::And(hn::Mul(z, below_), kept_below_);
      const auto lower = hn::IfThenElse(hn::Lt(z, hn::Zero(d)), scaled, z);
      return hn::IfThenElse(hn::Gt(lower, above_), above_, lower);
    } else {
      return other_value(lanes, z);
    }
  }

  // The gradient behind the activation. Multiplied, for what is not finite must not vanish.
  template <Branches branches, class Lanes>
  HWY_INLINE hn::Vec<D> gradient(Lanes lanes, hn::Vec<D> z, hn::Vec<D> output_gradient) const {
    const D d;
    if constexpr (branches == Branches::linear) {
      return output_gradient;
    } else if constexpr (branches == Branches::other) {
      return other_gradient(lanes, z, output_gradient);
    } else {
      const auto lower = hn::IfThenElse(hn::Le(z, hn::Zero(d)), below_, one_);
      return hn::Mul(output_gradient, hn::IfThenElse(hn::Ge(z, above_), hn::Zero(d), lower));
    }
  }

  // Where gradient() multiplies by 1; and it, from that. An upper limit comes with a slope of 0.
  HWY_INLINE hn::Mask<D> gates(hn::Vec<D> z) const {
    return hn::Not(hn::Or(hn::Le(z, hn::Zero(D())), hn::Ge(z, above_)));
  }
  HWY_INLINE hn::Vec<D> gated(hn::Mask<D> gates, hn::Vec<D> output_gradient) const {
    return hn::Mul(output_gradient, hn::IfThenElse(gates, one_, below_));
  }

 private:
  template <class Lanes>
  HWY_NOINLINE hn::Vec<D> other_value(Lanes lanes, hn::Vec<D> z) const {
    const D d;
    LooseLanes<D> loose(d, lanes, z);
    activate(*activation_.other, activation_.below, loose.values, loose.values, count(lanes));
    return loose.vector(d);
  }
  template <class Lanes>
  HWY_NOINLINE hn::Vec<D> other_gradient(Lanes lanes, hn::Vec<D> z,
                                         hn::Vec<D> output_gradient) const {
    const D d;
    const LooseLanes<D> loose(d, lanes, z);
    LooseLanes<D> result(d, lanes, output_gradient);
    activation_gradient(*activation_.other, activation_.below, loose.values, result.values,
                        result.values, count(lanes));
    return result.vector(d);
  }
  template <class Lanes>
  static std::int64_t count(Lanes lanes) {
    return static_cast<std::int64_t>(lanes.size(D()));
  }

  hn::Vec<D> below_, above_, kept_below_, one_;
  VectorActivation activation_;
};

// The gradient behind the activation of element `offset` and those after it: by its gates, or by z,
// which is what `affine_value` returns, and the residual.
template <Branches branches, class D, class Lanes, class T, class AffineValue>
HWY_INLINE hn::Vec<D> gated_gradient(Lanes lanes, const ActivationVectors<D>& activation,
                                     const Gates& gates, const T* residual, std::int64_t offset,
                                     hn::Vec<D> output_gradient, AffineValue&& affine_value) {
  const D d;
  if constexpr (branches == Branches::piecewise)
    if (gates.bits != nullptr)
      return activation.gated(load_gates(d, lanes, gates, offset), output_gradient);
  auto z = affine_value();
  if (residual != nullptr) z = hn::Add(z, lanes.load(d, residual + offset));
  return activation.template gradient<branches>(lanes, z, output_gradient);
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
