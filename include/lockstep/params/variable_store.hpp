// Variables by name, shared by the layers that reuse them, and named collections of them.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor_view.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

class VariableRegistry;
struct VariablePlace;

/// The collection of all variables that are trainable.
inline constexpr char trainable_variables_collection[] = "trainable_variables";
/// The collection in which updates of moving statistics are looked for.
inline constexpr char update_ops_collection[] = "update_ops";

/// What a layer gave last, in a collection of outputs. The memory is the one that the layer was
/// told to write to: the view is good as long as that is there, and shows what is in it now. In a
/// model it is the layer's own, one for training and one for inference.
struct CollectedOutput {
  std::string layer;
  TensorView value;
};

/// Variables of the layers that are made while a scope of the store is open, by full names such as
/// "block1/dense/kernel", together with named collections of variables, outputs and updates. What
/// TensorFlow keeps in a graph.
///
/// The store keeps variables alive, with or without the layers that made them; layers keep theirs,
/// with or without the store. A cheap value: copies are the same store. A store belongs to one rank
/// and communicates nothing: replicas stay replicas when every rank does the same with its own.
class LOCKSTEP_EXPORT VariableStore {
 public:
  /// A store without variables, independent of all others.
  VariableStore();

  // Moving copies, so that every store has a registry.
  VariableStore(const VariableStore&) = default;
  VariableStore& operator=(const VariableStore&) = default;

  /// All variables in the order in which they were made.
  [[nodiscard]] std::vector<Variable*> variables() const;

  /// By full name. Throws ArgumentError listing the names there are.
  [[nodiscard]] Variable& variable(std::string_view full_name) const;

  /// The variables in a collection, each once, in the order in which they were made; none when
  /// nothing was added. Those that are trainable at the moment are in "trainable_variables".
  [[nodiscard]] std::vector<Variable*> collection(std::string_view name) const;

  /// The last outputs of the layers in a collection, in the order in which these were built;
  /// without those that are gone or were not called yet.
  [[nodiscard]] std::vector<CollectedOutput> outputs(std::string_view collection) const;

  /// Makes the updates that the layers in a collection have deferred, in the order in which their
  /// calls were committed, each once. Local; to be done on every rank.
  void apply_updates(std::string_view collection = update_ops_collection) const noexcept;

  /// While a Scope lives on this thread, layers that are made keep their variables in the store,
  /// from its root: scopes that were open before are left until it ends.
  class LOCKSTEP_EXPORT Scope {
   public:
    explicit Scope(const VariableStore& store);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::unique_ptr<VariablePlace> previous_;
  };
  [[nodiscard]] Scope scope() const { return Scope(*this); }

  /// The store of the innermost scope on this thread; empty outside of any.
  [[nodiscard]] static std::optional<VariableStore> current();

 private:
  std::shared_ptr<VariableRegistry> registry_;
};

}  // namespace lockstep
