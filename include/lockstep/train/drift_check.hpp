// Whether replicas are still replicas.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/train/trainer.hpp"

namespace lockstep {

/// Compares parameters, the statistics of batch normalization and what the optimizer remembers, bit
/// for bit, over the ranks that share them: all of them, or a layer's group for its statistics.
/// Where they differ all ranks throw MismatchError, which names the first such tensor and the ranks
/// whose bits are not those of most ranks; all that share it where no bits are. FitOptions can ask
/// for it every so many steps. Callbacks may call it where they may call Trainer::evaluate(). Two
/// MPI_Allreduce when all is well, and one more per layer whose statistics some of the ranks share.
/// Throws StateError before the model is built. Collective.
LOCKSTEP_EXPORT void check_replicas(Trainer& trainer);

}  // namespace lockstep
