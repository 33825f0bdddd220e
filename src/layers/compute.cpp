#include "layers/compute.hpp"

#include "base/convert.hpp"

namespace lockstep {
namespace {

struct Workspace {
  Tensor first;
  Tensor second;
  Tensor target;
};

// Shared, so that models of 16 bits do not keep float32 copies of all activations.
Workspace& workspace() {
  thread_local Workspace memory;
  return memory;
}

}  // namespace

Operands operands_of(const TensorView& first, const TensorView& second,
                     const MutableTensorView& target) {
  Workspace& memory = workspace();
  Operands operands{converted(first, parameter_dtype_of(first.dtype()), memory.first),
                    converted(second, parameter_dtype_of(second.dtype()), memory.second), target};
  if (is_16_bit(target.dtype())) {
    memory.target.resize(target.shape(), parameter_dtype_of(target.dtype()));
    operands.target = memory.target;
  }
  return operands;
}

void store(const Operands& computed, const MutableTensorView& target) noexcept {
  if (computed.target.dtype() != target.dtype()) convert(computed.target, target);
}

}  // namespace lockstep
