#include "lockstep/params/variable.hpp"

#include <spdlog/fmt/fmt.h>

#include <cstring>
#include <utility>

#include "base/convert.hpp"
#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

template <class Variant>
bool is_none(const Variant& choice) {
  return std::holds_alternative<std::monostate>(choice);
}

// Runs a check of what is set; the variable's name is put in front of what it says.
template <class Check>
void check_for(const std::string& variable, Check&& check) {
  try {
    check();
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("variable '{}': {}", variable, error.what()));
  }
}

}  // namespace

Variable::Variable(std::string name, Tensor value, VariableRole role)
    : name_(std::move(name)),
      value_(std::move(value)),
      gradient_(role == VariableRole::parameter ? Tensor(value_.shape(), value_.dtype())
                                                : Tensor()),
      role_(role),
      is_trainable_(role == VariableRole::parameter) {}

void Variable::assign(const TensorView& source) {
  source.check(name_.c_str());
  if (source.shape() != shape())
    throw ArgumentError(fmt::format("variable '{}' has the shape {}; values of shape {} were given",
                                    name_, to_string(shape()), to_string(source.shape())));
  if (source.dtype() == dtype()) {
    if (num_elements() > 0)
      std::memmove(value_.data(), source.data(),
                   static_cast<std::size_t>(num_elements()) * size_of(dtype()));
    return;
  }
  if (!is_floating(source.dtype()) || !is_floating(dtype()))
    throw ArgumentError(fmt::format("variable '{}' holds {}; values of {} were given", name_,
                                    name_of(dtype()), name_of(source.dtype())));
  convert(source, value_);
}

void Variable::require_floating_parameter(const char* for_what) const {
  if (role_ != VariableRole::parameter || !is_floating(dtype()))
    throw ArgumentError(fmt::format("only a floating parameter can have a {}", for_what));
}

void Variable::set_regularizer(Regularizer regularizer) {
  if (!is_none(regularizer)) {
    check_for(name_, [&] {
      require_floating_parameter("regularizer");
      validate(regularizer);
    });
    scratch_.resize(2 * static_cast<std::size_t>(num_elements()));
  }
  regularizer_ = std::move(regularizer);
}

void Variable::set_constraint(Constraint constraint) {
  if (!is_none(constraint)) {
    check_for(name_, [&] {
      require_floating_parameter("constraint");
      validate(constraint, shape());
    });
    scratch_.resize(std::max(scratch_.size(), static_cast<std::size_t>(num_elements())));
  }
  constraint_ = std::move(constraint);
}

std::span<double> Variable::value_in_scratch() noexcept {
  const auto values = std::span(scratch_).first(static_cast<std::size_t>(num_elements()));
  read_as_double(value_, values);
  return values;
}

double regularization_loss(Variable& variable) {
  if (is_none(variable.regularizer_)) return 0.0;
  return penalty(variable.regularizer_, variable.value_in_scratch());
}

double regularization_loss(std::span<Variable* const> variables) {
  double sum = 0.0;
  for (Variable* variable : variables) sum += regularization_loss(*variable);
  return sum;
}

void add_regularization_gradient(Variable& variable, double scale) {
  if (is_none(variable.regularizer_)) return;
  const std::span<const double> values = variable.value_in_scratch();
  const auto penalty_gradient = std::span(variable.scratch_).last(values.size());
  std::ranges::fill(penalty_gradient, 0.0);
  add_penalty_gradient(variable.regularizer_, values, penalty_gradient);
  visit_floating(variable.dtype(), [&]<class T>(TypeTag<T>) {
    std::ranges::transform(
        variable.gradient_.values<T>(), penalty_gradient, variable.gradient_.values<T>().begin(),
        [&](T gradient, double change) { return static_cast<T>(gradient + scale * change); });
  });
}

void apply_constraint(Variable& variable) {
  if (is_none(variable.constraint_) || !variable.is_trainable_) return;
  const std::span<double> values = variable.value_in_scratch();
  project(variable.constraint_, variable.shape(), values);
  write_from_double(values, variable.value_);
}

}  // namespace lockstep
