#include "params/variable_registry.hpp"

#include <algorithm>

namespace lockstep {
namespace {

template <class T>
void add_weakly(std::vector<std::weak_ptr<T>>& members, const std::shared_ptr<T>& member) {
  std::erase_if(members, [](const auto& other) { return other.expired(); });
  const auto is_member = [&](const auto& other) { return other.lock() == member; };
  if (std::ranges::none_of(members, is_member)) members.push_back(member);
}

}  // namespace

std::shared_ptr<Variable> VariableRegistry::find(std::string_view full_name) const noexcept {
  const auto found = std::ranges::find_if(
      variables_, [&](const auto& variable) { return variable->name() == full_name; });
  return found == variables_.end() ? nullptr : *found;
}

void VariableRegistry::add(const std::shared_ptr<Variable>& variable,
                           std::span<const std::string> collections) {
  if (find(variable->name()) != variable) variables_.push_back(variable);
  for (const std::string& collection : collections) collections_[collection].insert(variable.get());
}

bool VariableRegistry::is_in(std::string_view collection, const Variable& variable) const noexcept {
  const auto found = collections_.find(collection);
  return found != collections_.end() && found->second.contains(&variable);
}

void VariableRegistry::add_output(const std::string& collection,
                                  const std::shared_ptr<CollectedOutput>& output) {
  add_weakly(outputs_[collection], output);
}

void VariableRegistry::add_updates(const std::string& collection,
                                   const std::shared_ptr<UpdateSource>& updates) {
  add_weakly(updates_[collection], updates);
}

std::vector<CollectedOutput> VariableRegistry::outputs(std::string_view collection) const {
  std::vector<CollectedOutput> result;
  const auto found = outputs_.find(collection);
  if (found == outputs_.end()) return result;
  for (const auto& member : found->second)
    if (const auto output = member.lock(); output != nullptr && !output->value.is_null())
      result.push_back(*output);
  return result;
}

void VariableRegistry::apply_updates(std::string_view collection) noexcept {
  const auto found = updates_.find(collection);
  if (found == updates_.end()) return;
  apply_in_order(found->second, [](const auto& member) { return member.lock().get(); });
}

}  // namespace lockstep
