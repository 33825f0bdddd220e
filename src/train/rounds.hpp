// Which samples a rank brings to each step of a run.

#pragma once

#include <cstdint>
#include <optional>

#include "lockstep/comm/communicator.hpp"
#include "lockstep/train/sampler.hpp"
#include "lockstep/train/trainer.hpp"

namespace lockstep {

/// How this rank takes part in the epochs of a run.
struct Rounds {
  Sampler sampler;               ///< of the global batches, or of this rank's own
  SamplerOptions order;          ///< what batches follow from, the same on all ranks
  std::int64_t unit = 1;         ///< of global batches, so many samples stay on one rank
  std::int64_t num_batches = 0;  ///< of an epoch, on the rank that has most
  /// Number of this rank's first sample among those of all; empty where all ranks have the same.
  std::optional<std::int64_t> first_sample = std::nullopt;
};

/// As far as this rank knows. Throws ArgumentError for options that cannot be used, also with ghost
/// batches of the model. Local.
[[nodiscard]] Rounds rounds_of(Sequential& model, const Dataset& data, const FitOptions& options);

/// With the data of the others, where each rank has its own. Collective then.
void complete(Rounds& rounds, const Communicator& replicas, const FitOptions& options);

}  // namespace lockstep
