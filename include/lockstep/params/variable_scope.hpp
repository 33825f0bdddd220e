// A part of the names of variables.

#pragma once

#include <memory>
#include <string>

#include "lockstep/base/export.hpp"

namespace lockstep {

struct VariablePlace;

struct VariableScopeOptions {
  std::string name = {};  ///< "block1", or several levels at once: "block1/inner"; has no default
  bool reuse = false;     ///< layers share the variables that are there instead of making some
};

/// While it lives on this thread, layers that are made are named and keep their variables inside
/// it: "block1/dense", "block1/dense/kernel". Scopes nest. Reuse holds for the scopes inside as
/// well, and needs a VariableStore.
///
/// In a store, layers without a name get the first free one of "dense", "dense_1", ... A scope that
/// is opened with reuse counts from the start again: what makes the layers of a model shares the
/// variables of a first call when it is called a second time.
class LOCKSTEP_EXPORT VariableScope {
 public:
  /// Throws ArgumentError for a name that is empty or has an empty level.
  explicit VariableScope(const VariableScopeOptions& options);
  ~VariableScope();
  VariableScope(const VariableScope&) = delete;
  VariableScope& operator=(const VariableScope&) = delete;

 private:
  std::unique_ptr<VariablePlace> previous_;
};

}  // namespace lockstep
