#include "layers/compute.hpp"

#include "base/convert.hpp"

namespace lockstep {
namespace {

TensorView widened(const TensorView& source, Scratch& scratch) {
  if (source.is_null() || !is_16_bit(source.dtype())) return source;
  const MutableTensorView copy = scratch.take(source.shape(), parameter_dtype_of(source.dtype()));
  convert(source, copy);
  return copy;
}

}  // namespace

Operands operands_of(const TensorView& first, const TensorView& second,
                     const MutableTensorView& target, Scratch& scratch) {
  Operands operands{widened(first, scratch), widened(second, scratch), target};
  if (!target.is_null() && is_16_bit(target.dtype()))
    operands.target = scratch.take(target.shape(), parameter_dtype_of(target.dtype()));
  return operands;
}

void store(const Operands& computed, const MutableTensorView& target) noexcept {
  if (computed.target.dtype() != target.dtype()) convert(computed.target, target);
}

}  // namespace lockstep
