#include "parallel/gradient_exchange.hpp"

#include <algorithm>

#include "base/convert.hpp"
#include "base/finite.hpp"

namespace lockstep {
namespace {

std::vector<Variable*> parameters_among(std::span<Variable* const> variables) {
  std::vector<Variable*> parameters;
  for (Variable* variable : variables)
    if (variable->role() == VariableRole::parameter) parameters.push_back(variable);
  return parameters;
}

std::size_t total_length(std::span<Variable* const> variables, std::size_t num_sums) {
  std::size_t length = num_sums + 1;
  for (const Variable* parameter : parameters_among(variables))
    length += static_cast<std::size_t>(parameter->num_elements());
  return length;
}

}  // namespace

GradientExchange::GradientExchange(const Communicator& group, std::span<Variable* const> variables,
                                   std::size_t num_sums)
    : exchange_(group, "model", "gradients", total_length(variables, num_sums)),
      parameters_(parameters_among(variables)),
      num_sums_(num_sums) {}

template <class Visit>
void GradientExchange::for_each_parameter(Visit&& visit) noexcept {
  std::size_t first = num_sums_ + 1;
  for (Variable* parameter : parameters_) {
    const auto count = static_cast<std::size_t>(parameter->num_elements());
    visit(*parameter, exchange_.payload().subspan(first, count));
    first += count;
  }
}

// Finite numbers of float32 add up to finite doubles, those of double may not.
void GradientExchange::merge(std::int64_t step) {
  bool is_finite = true;
  for_each_parameter([&](Variable& parameter, std::span<double> slot) {
    if (parameter.is_trainable() && parameter.gradient_scope() == GradientScope::local)
      is_finite = read_if_finite(parameter.grad(), slot) && is_finite;
    else
      std::ranges::fill(slot, 0.0);
  });
  num_nonfinite() = is_finite ? 0.0 : 1.0;
  exchange_.merge(step, std::nullopt);
  is_finite_ = num_nonfinite() == 0.0;
  for_each_parameter([&](Variable& parameter, std::span<double> slot) {
    if (!parameter.is_trainable()) return;
    if (parameter.gradient_scope() == GradientScope::global)
      is_finite_ = read_if_finite(parameter.grad(), slot) && is_finite_;
    else if (parameter.dtype() == DType::float64)
      is_finite_ = are_finite(slot) && is_finite_;
  });
}

void GradientExchange::finish(double divisor) noexcept {
  for_each_parameter([&](Variable& parameter, std::span<double> slot) {
    if (!parameter.is_trainable()) return;
    for (double& value : slot) value /= divisor;
    write_from_double(slot, parameter.grad());
  });
}

}  // namespace lockstep
