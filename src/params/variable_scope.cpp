#include "lockstep/params/variable_scope.hpp"

#include <utility>

#include "params/variable_place.hpp"

namespace lockstep {

VariableScope::VariableScope(const VariableScopeOptions& options) {
  check_scope_name(options.name);
  VariablePlace place = place_in(current_place(), options.name, options.reuse);
  previous_ = std::make_unique<VariablePlace>(std::move(current_place()));
  current_place() = std::move(place);
}

VariableScope::~VariableScope() { current_place() = std::move(*previous_); }

}  // namespace lockstep
