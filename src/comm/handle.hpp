// The MPI side of a communicator, and MPI's return codes as errors.

#pragma once

#include <mpi.h>

#include "lockstep/comm/communicator.hpp"

namespace lockstep {

struct Communicator::Handle {
  explicit Handle(MPI_Comm owned) noexcept : communicator(owned) {}
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  MPI_Comm communicator;  // owned
  Traffic traffic;
};

/// The MPI communicator of a group with a handle. Throws StateError when MPI is not running.
[[nodiscard]] MPI_Comm mpi_of(const Communicator& group);

/// Throws CommunicationError naming `call` unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// True between MPI_Init and MPI_Finalize.
[[nodiscard]] bool is_mpi_running() noexcept;

/// Adds one message of `num_bytes` to the counters of `handle` and of the process.
void count_message(Communicator::Handle& handle, std::size_t num_bytes) noexcept;

}  // namespace lockstep
