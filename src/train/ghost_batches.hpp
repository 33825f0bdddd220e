// Batches that are cut over ranks between ghost batches, never within one.

#pragma once

#include <cstdint>

#include "lockstep/model/sequential.hpp"
#include "lockstep/train/sampler.hpp"

namespace lockstep {

/// Samples that must stay together on one rank when the sampler's batches are cut: the least common
/// multiple of virtual_batch_size over the layers that use it in training, 1 without any. Throws
/// ArgumentError when that leaves a rest of a batch; `whose` says in words whose the batches are.
[[nodiscard]] std::int64_t ghost_unit_of(Sequential& model, const Sampler& sampler,
                                         const char* whose = " over all ranks");

}  // namespace lockstep
