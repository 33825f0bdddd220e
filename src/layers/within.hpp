// Errors that name the layer in which they happened.

#pragma once

#include <spdlog/fmt/fmt.h>

#include <string_view>
#include <utility>

#include "comm/failure.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Runs a part of one layer; its name, and `place` behind it, are put in front of what fails there.
/// What a group of ranks has agreed on names its layer already.
template <class Body>
void within(const Layer& layer, std::string_view place, Body&& body) {
  const auto failure = attempt(std::forward<Body>(body));
  if (!failure) return;
  if (failure->origin) rethrow(*failure);
  throw_error(failure->code, fmt::format("layer '{}'{}: {}", layer.name(), place, failure->cause));
}
template <class Body>
void within(const Layer& layer, Body&& body) {
  within(layer, "", std::forward<Body>(body));
}

}  // namespace lockstep
