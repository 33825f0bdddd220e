#include "layers/free_name.hpp"

#include <spdlog/fmt/fmt.h>

namespace lockstep {

std::string free_name_of(const Layer& layer,
                         const std::function<bool(const std::string&)>& is_taken) {
  const bool may_choose = layer.has_default_name() || layer.reuses_variables();
  if (!may_choose || !is_taken(layer.name())) return layer.name();
  const std::string first =
      layer.reuses_variables() ? fmt::format("{}_reuse", layer.name()) : layer.name();
  std::string free = first;
  for (int number = 1; is_taken(free); ++number) free = fmt::format("{}_{}", first, number);
  return free;
}

}  // namespace lockstep
