// Models whose batch normalization is to be synchronized, or not any more.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// Makes all BatchNormalization layers of the model, those inside of other layers too, what they
/// would be with synchronized = true, and returns how many were not. They stay the objects that
/// they are, in their places: nothing else about them changes, neither options, names, scopes,
/// modes nor values of variables, and optimizers and trainers go on with them.
///
/// The model may be built. Then each group of ranks that share statistics takes over the moving
/// statistics of its first rank, as in build(): where ranks have learned them apart, call
/// merge_statistics() before. A forward() that was recorded cannot be followed by backward().
///
/// With an error, the same on all ranks, nothing has changed: ArgumentError naming a layer whose
/// options cannot be synchronized, MismatchError for ranks with different models, StateError for
/// deferred updates that were not made. What is wrong for layers without variables is found in
/// build(). Collective.
LOCKSTEP_EXPORT int synchronize_batch_normalization(Sequential& model);

/// The way back: synchronized = false. Collective.
LOCKSTEP_EXPORT int desynchronize_batch_normalization(Sequential& model);

}  // namespace lockstep
