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
  std::size_t length = num_sums;
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
  std::size_t first = num_sums_;
  for (Variable* parameter : parameters_) {
    const auto count = static_cast<std::size_t>(parameter->num_elements());
    visit(*parameter, exchange_.payload().subspan(first, count));
    first += count;
  }
}

void GradientExchange::merge(std::int64_t step) {
  for_each_parameter([](Variable& parameter, std::span<double> slot) {
    if (parameter.is_trainable() && parameter.gradient_scope() == GradientScope::local)
      read_as_double(parameter.grad(), slot);
    else
      std::ranges::fill(slot, 0.0);
  });
  exchange_.merge(step, std::nullopt);
  for_each_parameter([](Variable& parameter, std::span<double> slot) {
    if (parameter.is_trainable() && parameter.gradient_scope() == GradientScope::global)
      read_as_double(parameter.grad(), slot);
  });
}

bool GradientExchange::is_finite() noexcept {
  return are_finite(exchange_.payload().subspan(num_sums_));
}

void GradientExchange::finish(double divisor) noexcept {
  for_each_parameter([&](Variable& parameter, std::span<double> slot) {
    if (!parameter.is_trainable()) return;
    for (double& value : slot) value /= divisor;
    write_from_double(slot, parameter.grad());
  });
}

}  // namespace lockstep
