#include "layers/deliver.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

const char* text_of(GradientScope scope) noexcept {
  return scope == GradientScope::local ? "local (this rank's samples)"
                                       : "global (all ranks' samples)";
}

bool is_zero(const TensorView& gradient) {
  if (gradient.num_elements() == 0) return true;
  return visit_floating(gradient.dtype(), [&]<class T>(TypeTag<T>) {
    return std::ranges::all_of(gradient.values<T>(),
                               [](T value) { return static_cast<double>(value) == 0.0; });
  });
}

}  // namespace

void require_same_scope(const Variable& parameter, Gradients gradients, GradientScope scope) {
  if (gradients == Gradients::overwrite || parameter.gradient_scope() == scope) return;
  if (is_zero(parameter.grad())) return;
  throw StateError(fmt::format(
      "variable '{}': its gradient is {}, and one that is {} cannot be accumulated to it; use "
      "Gradients::overwrite, or sum the local one over the ranks first",
      parameter.name(), text_of(parameter.gradient_scope()), text_of(scope)));
}

void deliver(std::span<const double> sums, Gradients gradients, Variable& parameter,
             GradientScope scope) noexcept {
  visit_floating(parameter.dtype(), [&]<class T>(TypeTag<T>) {
    auto sum = sums.begin();
    for (T& gradient : parameter.grad().values<T>()) {
      const double old = gradients == Gradients::accumulate ? static_cast<double>(gradient) : 0.0;
      gradient = static_cast<T>(old + *sum++);
    }
  });
  parameter.set_gradient_scope(scope);
}

}  // namespace lockstep
