// Where a layer keeps its variables, whether it shares them, and in which collections things are.

#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

namespace lockstep {

using CollectionNames = std::vector<std::string>;
/// By the name of the variable within the layer, "gamma".
using CollectionsByVariable = std::map<std::string, CollectionNames>;

/// What a layer takes from the scopes and the store around its constructor is in VariableScope and
/// VariableStore; this is what it adds itself. All is judged when the layer is built:
/// ArgumentError.
struct ScopeOptions {
  /// A scope for this layer, inside of those around it: variables are "name/dense/kernel".
  std::string name = {};
  /// Of a layer without a name, made unique in its scope; empty: from the type, "dense".
  std::string default_name = {};
  /// The layer shares the variables that the store has under its names; one that is missing, or has
  /// another shape, dtype or role, is an error. Needs a scope or a name of the layer to say whose
  /// they are. Initializers are not used, and `trainable` does not change them.
  bool reuse = false;
  /// Of all variables, or of those named. Need a store.
  std::variant<CollectionNames, CollectionsByVariable> variables_collections = {};
  CollectionNames outputs_collections = {};  ///< need a store
  /// Of updates that the layer defers. Without a store only the layer and the model apply them.
  CollectionNames updates_collections = {};
};

}  // namespace lockstep
