// `lockstep train`.

#pragma once

#include "lockstep/comm/communicator.hpp"
#include "train_options.hpp"

/// Trains as told on all ranks of `world`; false when a signal or the run folder's stop file ended
/// it early. Throws UsageError on all of them when the user has to
/// change something, and what training throws. Collective.
[[nodiscard]] bool train(const lockstep::Communicator& world, const TrainOptions& options);
