// Moving statistics that become those of a population.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/layers/population.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// Makes `statistics` the moving statistics of the layers that they are of; see
/// BatchNormalization::replace_moving_statistics(). Layers that are not among them keep theirs. All
/// ranks give the same. Throws StateError before build(). When one rank fails or differs all throw
/// the same error and nothing has changed in any layer: ArgumentError for a layer that is not in
/// the model, and what the layers throw, with their names. Collective.
LOCKSTEP_EXPORT void replace_moving_statistics(Sequential& model,
                                               const PopulationStatistics& statistics);

}  // namespace lockstep
