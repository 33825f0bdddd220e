// `lockstep bench`.

#pragma once

#include "bench/bench_options.hpp"
#include "lockstep/comm/communicator.hpp"

/// Measures as told on all ranks of `world`. True when all results are what the reference gives.
/// Throws UsageError on all ranks when the user has to change something, and what layers throw.
/// Collective.
[[nodiscard]] bool bench(const lockstep::Communicator& world, const BenchOptions& options);
