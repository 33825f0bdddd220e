// oneDNN's batch normalization among what is measured, where the build has oneDNN.

#pragma once

#include <vector>

#include "bench/buffers.hpp"
#include "bench/measure.hpp"
#include "bench/workload.hpp"

/// False when built with LOCKSTEP_ONEDNN=OFF.
[[nodiscard]] bool has_onednn() noexcept;

/// "onednn forward" and "onednn backward", on the buffers; with whole blocks of 16 channels of
/// images in nchw also "onednn blocked ...", on memory of its own. None without oneDNN, and for
/// types other than float32. `buffers` must outlive them. Throws ForeignError and MemoryError.
/// Local.
[[nodiscard]] std::vector<Candidate> onednn_candidates(const Workload& workload, Buffers& buffers);
