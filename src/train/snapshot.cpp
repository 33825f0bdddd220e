#include "train/snapshot.hpp"

#include "base/bytes.hpp"

namespace lockstep {

Snapshot::Snapshot(std::span<Variable* const> variables, Optimizer& optimizer) {
  for (Variable* variable : variables)
    if (variable->role() == VariableRole::parameter) parameters_.push_back(variable);
  for (const Optimizer::State& state : optimizer.state()) state_.push_back(state.value);
  copies_.resize(parameters_.size() + state_.size());
  take();
}

template <class Visit>
void Snapshot::for_each(Visit&& visit) {
  auto copy_of = copies_.begin();
  for (Variable* parameter : parameters_) visit(parameter->value(), *copy_of++);
  for (Tensor* tensor : state_) visit(MutableTensorView(*tensor), *copy_of++);
}

void Snapshot::take() {
  for_each([](const MutableTensorView& original, Tensor& kept) {
    kept.resize(original.shape(), original.dtype());
    copy_bytes(original, kept);
  });
}

void Snapshot::put_back() noexcept {
  for_each([](const MutableTensorView& original, Tensor& kept) { copy_bytes(kept, original); });
}

}  // namespace lockstep
