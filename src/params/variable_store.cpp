#include "lockstep/params/variable_store.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "lockstep/base/error.hpp"
#include "params/variable_place.hpp"

namespace lockstep {

VariableStore::VariableStore() : registry_(std::make_shared<VariableRegistry>()) {}

std::vector<Variable*> VariableStore::variables() const {
  std::vector<Variable*> result;
  for (const auto& variable : registry_->variables()) result.push_back(variable.get());
  return result;
}

Variable& VariableStore::variable(std::string_view full_name) const {
  if (const auto found = registry_->find(full_name)) return *found;
  std::string known;
  for (const auto& variable : registry_->variables())
    known += (known.empty() ? "" : ", ") + variable->name();
  throw ArgumentError(fmt::format("the store has no variable '{}'; it has: {}", full_name, known));
}

std::vector<Variable*> VariableStore::collection(std::string_view name) const {
  std::vector<Variable*> result;
  for (const auto& variable : registry_->variables())
    if (registry_->is_in(name, *variable) ||
        (name == trainable_variables_collection && variable->is_trainable()))
      result.push_back(variable.get());
  return result;
}

std::vector<CollectedOutput> VariableStore::outputs(std::string_view collection) const {
  return registry_->outputs(collection);
}

void VariableStore::apply_updates(std::string_view collection) const noexcept {
  registry_->apply_updates(collection);
}

VariableStore::Scope::Scope(const VariableStore& store) {
  VariablePlace root{store.registry_, {}, false, store.registry_->layer_names()};
  previous_ = std::make_unique<VariablePlace>(std::move(current_place()));
  current_place() = std::move(root);
}

VariableStore::Scope::~Scope() { current_place() = std::move(*previous_); }

std::optional<VariableStore> VariableStore::current() {
  const auto& registry = current_place().registry;
  if (registry == nullptr) return std::nullopt;
  VariableStore store;
  store.registry_ = registry;
  return store;
}

}  // namespace lockstep
