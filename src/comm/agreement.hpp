// Ranks compare what they are about to build before any message of a length that depends on it.

#pragma once

#include <optional>
#include <span>
#include <string>

#include "comm/failure.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// One property that must be equal on all ranks, in words.
struct Property {
  std::string name;
  std::string value;
};

/// Throws on all ranks alike when one of them failed, or when a property differs: MismatchError
/// names the first such property, the ranks and their values. When all is well this is one
/// MPI_Allreduce of a fixed size. Collective.
void agree(const Communicator& group, const Meeting& meeting, std::span<const Property> properties,
           const std::optional<Failure>& failure = std::nullopt);

/// Returns or throws when all ranks are here. Those that are in an agreement meanwhile hear there
/// of a failure of this rank, or of the different calls, and must come here next. Then all ranks
/// throw the failure of the lowest rank that has one. One MPI_Allreduce when all come with none.
/// Collective.
void assemble(const Communicator& group, const Meeting& meeting, std::optional<Failure> failure);

}  // namespace lockstep
