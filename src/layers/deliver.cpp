#include "layers/deliver.hpp"

#include "base/visit_dtype.hpp"

namespace lockstep {

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
