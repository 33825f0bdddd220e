// What replicas must have in common, to the last bit.

#pragma once

#include "lockstep/comm/communicator.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep::conformance {

/// Throws CaseFailure on all ranks unless the layer's variables, and the batch statistics of the
/// last call, have the same bits on all; those of NaN do not count. Collective.
void require_same_on_all_ranks(const Communicator& world, BatchNormalization& layer,
                               const BatchNormalizationTape& tape);

}  // namespace lockstep::conformance
