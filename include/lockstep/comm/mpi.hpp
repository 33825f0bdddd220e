// From an MPI communicator of the user's to one of lockstep. The only public header that needs MPI.

#pragma once

#include <mpi.h>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

namespace detail {
[[nodiscard]] LOCKSTEP_EXPORT Communicator duplicate(const void* mpi_communicator);
}

/// A duplicate of `communicator`, independent of the user's own messages. Collective.
[[nodiscard]] inline Communicator duplicate(MPI_Comm communicator) {
  return detail::duplicate(&communicator);
}

}  // namespace lockstep
