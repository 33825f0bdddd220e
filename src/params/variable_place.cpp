#include "params/variable_place.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"

namespace lockstep {

VariablePlace& current_place() noexcept {
  thread_local VariablePlace place;
  return place;
}

// Names are counted anew where reuse begins, so that they come out as they did the first time.
VariablePlace place_in(VariablePlace outer, std::string_view name, bool reuse) {
  if (!name.empty()) outer.scope = full_name_of(outer.scope, name);
  if (reuse && !outer.reuses) outer.layer_names = std::make_shared<NameSet>();
  outer.reuses = outer.reuses || reuse;
  return outer;
}

std::string full_name_of(std::string_view scope, std::string_view name) {
  return scope.empty() ? std::string(name) : fmt::format("{}/{}", scope, name);
}

std::string take_name(const VariablePlace& place, std::string_view name) {
  std::string full_name = full_name_of(place.scope, name);
  if (place.layer_names != nullptr) place.layer_names->insert(full_name);
  return full_name;
}

std::string take_free_name(const VariablePlace& place, std::string_view name) {
  const std::string first = full_name_of(place.scope, name);
  if (place.layer_names == nullptr) return first;
  std::string free = first;
  for (int number = 1; !place.layer_names->insert(free).second; ++number)
    free = fmt::format("{}_{}", first, number);
  return free;
}

void check_scope_name(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.back() == '/' ||
      name.find("//") != std::string_view::npos)
    throw ArgumentError(fmt::format(
        "the name of a variable scope needs levels that are not empty, such as 'block1' or "
        "'block1/inner'; got '{}'",
        name));
}

}  // namespace lockstep
