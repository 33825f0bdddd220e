#include "lockstep/model/replace_moving_statistics.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <vector>

#include "comm/agreement.hpp"
#include "layers/statistics_replacement.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// The layer that keeps its variables in `scope`; the first one where several share them.
const BatchNormalization& normalization_in(Sequential& model, const std::string& scope) {
  for (const Layer* layer : model.layers())
    if (const auto* found = dynamic_cast<const BatchNormalization*>(layer);
        found != nullptr && found->variable_scope() == scope)
      return *found;
  throw ArgumentError(
      fmt::format("model '{}' has no batch normalization '{}'", model.name(), scope));
}

}  // namespace

void replace_moving_statistics(Sequential& model, const PopulationStatistics& statistics) {
  if (!model.is_built())
    throw StateError(fmt::format(
        "model '{}' is not built; its statistics can be replaced after build()", model.name()));
  std::vector<StatisticsReplacement> replacements;
  const auto failure = attempt([&] {
    for (const LayerPopulation& population : statistics) {
      const BatchNormalization& layer = normalization_in(model, population.layer);
      const auto refused = attempt([&] { replacements.emplace_back(layer, population); });
      if (refused)
        throw_error(refused->code, fmt::format("layer '{}': {}", layer.name(), refused->cause));
    }
  });
  const Property property{"statistics", fingerprint_of(statistics)};
  agree(model.strategy().replicas(),
        {fmt::format("model '{}'", model.name()), "replace_moving_statistics"}, {&property, 1},
        failure);
  for (StatisticsReplacement& replacement : replacements) replacement.assign();
}

}  // namespace lockstep
