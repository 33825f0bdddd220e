// `lockstep train`.

#pragma once

#include "lockstep/comm/communicator.hpp"
#include "train_options.hpp"

/// Trains as told on all ranks of `world`. Throws UsageError on all of them when the user has to
/// change something, and what training throws. Collective.
void train(const lockstep::Communicator& world, const TrainOptions& options);
