// The collectives that lockstep needs, on plain memory. With a group of one none of them calls MPI.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

enum class Reduction { sum, maximum };

/// Replaces `values` on every rank by their elementwise sum or maximum over the ranks. All ranks
/// pass equally many. The result is bitwise equal on every rank, but for the sign and payload of a
/// NaN in a sum. NaN counts as the largest number, +0 as larger than -0. Throws CommunicationError
/// when MPI reports one. Collective.
LOCKSTEP_EXPORT void allreduce(const Communicator& group, std::span<double> values,
                               Reduction reduction);
LOCKSTEP_EXPORT void allreduce(const Communicator& group, std::span<std::int64_t> values,
                               Reduction reduction);

/// Gives every rank the bytes of rank `root`. All ranks pass equally many. Collective.
LOCKSTEP_EXPORT void broadcast(const Communicator& group, std::span<std::byte> bytes, int root);

/// Gives every rank the bytes of all ranks, in rank order: `all` is size() times as long as
/// `local`, which is equally long on every rank; ArgumentError otherwise. Collective.
LOCKSTEP_EXPORT void allgather(const Communicator& group, std::span<const std::byte> local,
                               std::span<std::byte> all);

/// Gives every rank the bytes of all ranks, which may be of different length. Throws MemoryError on
/// all ranks when one of them has no room. Collective.
[[nodiscard]] LOCKSTEP_EXPORT std::vector<std::vector<std::byte>> allgather_varying(
    const Communicator& group, std::span<const std::byte> local);

}  // namespace lockstep
