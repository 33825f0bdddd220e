// The variables of a layer: names, reuse, collections.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/layer.hpp"
#include "params/variable_place.hpp"

namespace lockstep {
namespace {

std::string_view name_of(VariableRole role) {
  switch (role) {
    case VariableRole::parameter:
      return "parameter";
    case VariableRole::statistic:
      return "statistic";
    case VariableRole::state:
      return "state";
  }
  return "variable";
}

std::string text_of(VariableRole role, DType dtype, const Shape& shape) {
  return fmt::format("a {} {} of shape {}", lockstep::name_of(dtype), name_of(role),
                     to_string(shape));
}

}  // namespace

void Layer::check_scope() const {
  const ScopeOptions& scope = traits_.scope;
  if (!scope.name.empty()) check_scope_name(scope.name);
  if (scope.reuse && scope.name.empty() && has_default_name_)
    throw ArgumentError(
        fmt::format("layer '{}' is to reuse variables, but has neither a scope nor a name that say "
                    "which; give one of them",
                    name()));
  if (registry_ != nullptr) return;
  if (reuses_variables_)
    throw ArgumentError(
        fmt::format("layer '{}' is to reuse variables, but there is no store that has any; make it "
                    "within VariableStore::scope()",
                    name()));
  const bool names_collections =
      !scope.outputs_collections.empty() ||
      std::visit([](const auto& collections) { return !collections.empty(); },
                 scope.variables_collections);
  if (names_collections)
    throw ArgumentError(
        fmt::format("layer '{}' names collections of variables or outputs, but there is no store "
                    "that has any; make it within VariableStore::scope()",
                    name()));
}

void Layer::check_collections() const {
  const auto* by_variable =
      std::get_if<CollectionsByVariable>(&traits_.scope.variables_collections);
  if (by_variable == nullptr) return;
  std::string known;
  for (const auto& variable : variables_)
    known += (known.empty() ? "" : ", ") + variable->name().substr(variable_scope_.size() + 1);
  for (const auto& entry : *by_variable)
    if (std::ranges::none_of(variables_, [&](const auto& variable) {
          return variable->name() == full_name_of(variable_scope_, entry.first);
        }))
      throw ArgumentError(
          fmt::format("layer '{}' has no variable '{}' to be added to collections; it has: {}",
                      name(), entry.first, known));
}

void Layer::enter_collections() {
  if (registry_ != nullptr) enter_own_collections();
  for (const auto& layer : inner_layers()) layer->enter_collections();
}

void Layer::enter_own_collections() {
  const ScopeOptions& scope = traits_.scope;
  const auto* for_all = std::get_if<CollectionNames>(&scope.variables_collections);
  const auto* by_variable = std::get_if<CollectionsByVariable>(&scope.variables_collections);
  for (const auto& variable : variables_)
    registry_->add(variable, for_all ? *for_all : CollectionNames{});
  if (by_variable != nullptr)
    for (const auto& [name, collections] : *by_variable)
      registry_->add(registry_->find(full_name_of(variable_scope_, name)), collections);
  if (!scope.outputs_collections.empty())
    collected_output_ = std::make_shared<CollectedOutput>(CollectedOutput{name(), {}});
  for (const std::string& collection : scope.outputs_collections)
    registry_->add_output(collection, collected_output_);
  if (update_source_ == nullptr) return;
  for (const std::string& collection : scope.updates_collections)
    registry_->add_updates(collection, update_source_);
}

void Layer::note_output(const TensorView& output) noexcept {
  if (collected_output_ != nullptr) collected_output_->value = output;
}

Variable& Layer::variable(std::string_view name) {
  std::string known;
  for (Variable* variable : variables()) {
    if (variable->name() == name || variable->name() == full_name_of(variable_scope_, name))
      return *variable;
    known += (known.empty() ? "" : ", ") + variable->name();
  }
  throw ArgumentError(
      fmt::format("layer '{}' has no variable '{}'; it has: {}", this->name(), name, known));
}

Variable& Layer::add_variable(std::string_view name, const Shape& shape,
                              const Initializer& initializer, VariableRole role) {
  std::string full_name = full_name_of(variable_scope_, name);
  const DType variable_dtype = parameter_dtype_of(dtype());
  if (reuses_variables_) return share_variable(std::move(full_name), shape, variable_dtype, role);
  Tensor value(shape, variable_dtype);
  initialize(initializer, full_name, seed_, value);
  return add_variable(name, std::move(value), role);
}

Variable& Layer::add_variable(std::string_view name, Tensor value, VariableRole role) {
  std::string full_name = full_name_of(variable_scope_, name);
  if (reuses_variables_)
    return share_variable(std::move(full_name), value.shape(), value.dtype(), role);
  if (registry_ != nullptr && registry_->find(full_name) != nullptr)
    throw ArgumentError(
        fmt::format("variable '{}' exists already; give the layer another name, or let it reuse "
                    "what is there",
                    full_name));
  variables_.push_back(std::make_shared<Variable>(std::move(full_name), std::move(value), role));
  return *variables_.back();
}

void Layer::penalize(Variable& parameter, const Regularizer& regularizer,
                     const Constraint& constraint) {
  if (reuses_variables_) return;
  parameter.set_regularizer(regularizer);
  parameter.set_constraint(constraint);
}

Variable& Layer::share_variable(std::string full_name, const Shape& shape, DType variable_dtype,
                                VariableRole role) {
  auto shared = registry_->find(full_name);
  if (shared == nullptr)
    throw ArgumentError(
        fmt::format("variable '{}' does not exist, so it cannot be reused; first build the layer "
                    "that makes it",
                    full_name));
  if (shared->shape() != shape || shared->dtype() != variable_dtype || shared->role() != role)
    throw ArgumentError(fmt::format("variable '{}' cannot be reused: expected {}, it is {}",
                                    full_name, text_of(role, variable_dtype, shape),
                                    text_of(shared->role(), shared->dtype(), shared->shape())));
  variables_.push_back(std::move(shared));
  return *variables_.back();
}

}  // namespace lockstep
