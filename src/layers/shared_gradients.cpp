#include "layers/shared_gradients.hpp"

#include <algorithm>
#include <functional>

#include "base/convert.hpp"

namespace lockstep {
namespace {

bool is_shared_by(const std::vector<const Layer*>& layers, const Layer& layer) {
  return std::ranges::count(layers, &layer) > 0;
}

}  // namespace

SharedGradients::SharedGradients(std::span<Layer* const> layers) {
  for (Layer* layer : layers)
    for (Variable* variable : layer->variables()) {
      if (variable->role() != VariableRole::parameter) continue;
      auto sum = std::ranges::find(sums_, variable, &Sum::variable);
      if (sum == sums_.end()) sum = sums_.insert(sum, Sum{variable, {}, {}, {}, {}});
      sum->layers.push_back(layer);
    }
  std::erase_if(sums_, [](const Sum& sum) { return sum.layers.size() < 2; });
  for (Sum& sum : sums_)
    for (auto* values : {&sum.local, &sum.global, &sum.part})
      values->resize(static_cast<std::size_t>(sum.variable->num_elements()));
}

void SharedGradients::add_part(Sum& sum) noexcept {
  const bool is_global = sum.variable->gradient_scope() == GradientScope::global;
  read_as_double(sum.variable->grad(), sum.part);
  std::vector<double>& total = is_global ? sum.global : sum.local;
  std::ranges::transform(total, sum.part, total.begin(), std::plus());
  (is_global ? sum.has_global : sum.has_local) = true;
}

void SharedGradients::begin(Gradients gradients) noexcept {
  for (Sum& sum : sums_) {
    std::ranges::fill(sum.local, 0.0);
    std::ranges::fill(sum.global, 0.0);
    sum.has_local = sum.has_global = false;
    if (gradients == Gradients::accumulate) add_part(sum);
  }
}

void SharedGradients::begin_layer(const Layer& layer) noexcept {
  for (Sum& sum : sums_) {
    if (!is_shared_by(sum.layers, layer)) continue;
    std::ranges::fill(sum.part, 0.0);
    write_from_double(sum.part, sum.variable->grad());
    sum.variable->set_gradient_scope(GradientScope::local);
  }
}

void SharedGradients::finish_layer(const Layer& layer) noexcept {
  for (Sum& sum : sums_)
    if (is_shared_by(sum.layers, layer)) add_part(sum);
}

void SharedGradients::finish(bool is_first_rank) noexcept {
  for (Sum& sum : sums_) {
    if (is_first_rank || !sum.has_local)
      std::ranges::transform(sum.local, sum.global, sum.local.begin(), std::plus());
    write_from_double(sum.local, sum.variable->grad());
    sum.variable->set_gradient_scope(sum.has_global && !sum.has_local ? GradientScope::global
                                                                      : GradientScope::local);
  }
}

}  // namespace lockstep
