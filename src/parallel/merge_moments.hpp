// Moments that groups of ranks have taken apart become those of all ranks.

#pragma once

#include "lockstep/comm/communicator.hpp"
#include "stats/pooled_moments.hpp"

namespace lockstep {

/// Pools the sets of all groups that `replicas` consist of. Every group counts once, whatever its
/// size: its first rank speaks for it. `pool` comes empty, with as many channels on every rank as
/// `set` has. Two MPI_Allreduce. Collective.
void merge_moments(const Communicator& replicas, const Communicator& group, const MomentsView& set,
                   PooledMoments& pool);

}  // namespace lockstep
