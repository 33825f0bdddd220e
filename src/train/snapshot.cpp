#include "train/snapshot.hpp"

#include <cstring>

namespace lockstep {
namespace {

void copy(const TensorView& from, const MutableTensorView& to) noexcept {
  const auto num_bytes = static_cast<std::size_t>(from.num_elements()) * size_of(from.dtype());
  if (num_bytes > 0) std::memcpy(to.data(), from.data(), num_bytes);
}

}  // namespace

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
    copy(original, kept);
  });
}

void Snapshot::put_back() noexcept {
  for_each([](const MutableTensorView& original, Tensor& kept) { copy(kept, original); });
}

}  // namespace lockstep
