// The MPI side of a communicator, and MPI's return codes as errors.

#pragma once

#include <mpi.h>

#include <chrono>
#include <cstddef>
#include <utility>

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

/// Adds one message to the counters of `handle` and of the process.
void count_message(Communicator::Handle& handle, std::size_t num_bytes,
                   std::chrono::duration<double> time) noexcept;
/// The time that was spent on a message which is counted already.
void count_time(Communicator::Handle& handle, std::chrono::duration<double> time) noexcept;

/// Makes one call of an MPI collective, `call(communicator)`, to which this rank contributes
/// `num_bytes`, and counts it. `name` is MPI's, for errors as those of mpi_of() and check_mpi().
template <class Call>
void count_call(const Communicator& group, const char* name, std::size_t num_bytes, Call&& call) {
  const MPI_Comm communicator = mpi_of(group);
  const auto start = std::chrono::steady_clock::now();
  check_mpi(std::forward<Call>(call)(communicator), name);
  count_message(*group.handle(), num_bytes, std::chrono::steady_clock::now() - start);
}

}  // namespace lockstep
