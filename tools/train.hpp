// `lockstep train`.

#pragma once

#include "lockstep/comm/communicator.hpp"
#include "train_options.hpp"

/// Trains as told on all ranks of the world and returns the exit code. Throws UsageError on all
/// ranks when the user has to change something, and what training throws. Collective.
int train(const TrainOptions& options);
