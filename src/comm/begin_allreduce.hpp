// A sum over the ranks that is under way while this rank does something else.

#pragma once

#include <cstdint>
#include <span>

#include "comm/mpi_call.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Starts what allreduce() does with Reduction::sum, in one message of at most `max_chunk` numbers.
/// Several may be under way, of one communicator too, when all ranks start them in the same order.
/// Nothing is under way in a group of one. Collective.
[[nodiscard]] PendingCall begin_allreduce(const Communicator& group, std::span<double> values);
[[nodiscard]] PendingCall begin_allreduce(const Communicator& group,
                                          std::span<std::int64_t> values);

}  // namespace lockstep
