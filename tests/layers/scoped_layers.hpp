// Builds layers in scopes and stores on all ranks, and what tests ask of the outcome.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/dense.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep::testing {

using Names = std::vector<std::string>;

inline Names names_of(const std::vector<Variable*>& variables) {
  Names names;
  for (const Variable* variable : variables) names.push_back(variable->name());
  return names;
}

inline Dense dense(const std::string& name = {}, ScopeOptions scope = {}) {
  return Dense({.units = 2, .dtype = DType::float64, .name = name, .scope = std::move(scope)});
}

inline const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

// Builds for three features; all ranks must catch the same.
inline Caught caught_from_build(Layer& layer, const Shape& shape = {4, 3}) {
  const Caught caught = caught_from([&] { layer.build(shape, world()); });
  if (caught.code) REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  return caught;
}

inline void require_refusal(const Caught& caught, const std::vector<std::string>& parts) {
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
  for (const std::string& part : parts)
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find(part) != std::string::npos);
}

inline void require_built(Layer& layer, const Shape& shape = {4, 3}) {
  const Caught caught = caught_from_build(layer, shape);
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.empty() && layer.is_built());
}

}  // namespace lockstep::testing
