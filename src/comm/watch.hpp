// The one wait for other ranks.

#pragma once

#include <mpi.h>

#include <chrono>

#include "comm/handle.hpp"
#include "comm/journal.hpp"

namespace lockstep {

namespace detail {
extern bool is_watchdog_on;
}

/// True when messages are started and watched, false when they are MPI's blocking calls.
[[nodiscard]] inline bool is_watching() noexcept { return detail::is_watchdog_on; }

/// Waits until `request` is done, the present call of `handle`, which `entry` describes. Meanwhile
/// it answers the roll calls of other ranks. A rank that does not come makes it a warning, later
/// the end of the job; see set_watchdog(). Throws CommunicationError naming `call`.
void watch(const Communicator::Handle& handle, const JournalEntry& entry, MPI_Request& request,
           const char* call);

/// What a call of MPI that cannot be watched may take; for LastResort.
[[nodiscard]] std::chrono::duration<double> longest_call() noexcept;

}  // namespace lockstep
