// The border between the dtype that tensors are stored in and the one that layers compute in.

#pragma once

#include <utility>

#include "base/arena.hpp"
#include "base/visit_dtype.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// The arguments of a computation in parameter_dtype_of() their dtype: themselves, or float32 in
/// place of 16 bits.
struct Operands {
  TensorView first;
  TensorView second;
  MutableTensorView target;
};

/// 16-bit arguments become float32 in scratch memory, so that models of 16 bits do not keep float32
/// copies of all activations. Sources are copied, targets are not; null views stay null.
[[nodiscard]] Operands operands_of(const TensorView& first, const TensorView& second,
                                   const MutableTensorView& target, Scratch& scratch);

/// Rounds what was computed to `target`, unless it lies there already.
void store(const Operands& computed, const MutableTensorView& target) noexcept;

/// Calls body(first, second, target) with pointers to float or double. The sources have the dtype
/// of the target or what layers of that dtype compute in; every element of a 16-bit target is
/// rounded once, when the body is done. A null view is a null pointer.
template <class Body>
void compute(const TensorView& first, const TensorView& second, const MutableTensorView& target,
             Body&& body) {
  Scratch scratch;
  const Operands operands = operands_of(first, second, target, scratch);
  visit_parameter(operands.first.dtype(), [&]<class T>(TypeTag<T>) {
    std::forward<Body>(body)(static_cast<const T*>(operands.first.data()),
                             static_cast<const T*>(operands.second.data()),
                             static_cast<T*>(operands.target.data()));
  });
  store(operands, target);
}

/// The same for one source: body(source, target).
template <class Body>
void compute(const TensorView& source, const MutableTensorView& target, Body&& body) {
  compute(source, {}, target, [&]<class T>(const T* values, const T*, T* result) {
    std::forward<Body>(body)(values, result);
  });
}

}  // namespace lockstep
