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

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
