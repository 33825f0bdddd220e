// Where in which store the layers that are made now keep their variables.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "params/variable_registry.hpp"

namespace lockstep {

/// Set by the scopes of this thread, taken over by a layer when it is made.
struct VariablePlace {
  std::shared_ptr<VariableRegistry> registry;  ///< null outside of a store
  std::string scope;                           ///< "block1/inner"; empty at the root
  bool reuses = false;
  std::shared_ptr<NameSet> layer_names;  ///< taken ones; null when they need not be unique
};

[[nodiscard]] VariablePlace& current_place() noexcept;

/// The place in a scope inside of another, or in the same one for an empty name.
[[nodiscard]] VariablePlace place_in(VariablePlace outer, std::string_view name, bool reuse);

/// "scope/name".
[[nodiscard]] std::string full_name_of(std::string_view scope, std::string_view name);

/// The full name of a layer with this name there, which is taken now.
[[nodiscard]] std::string take_name(const VariablePlace& place, std::string_view name);

/// The same for the first free one of "name", "name_1", ...
[[nodiscard]] std::string take_free_name(const VariablePlace& place, std::string_view name);

/// Throws ArgumentError for a name that is empty or has an empty level.
void check_scope_name(std::string_view name);

}  // namespace lockstep
