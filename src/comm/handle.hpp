// The MPI side of a communicator, and MPI's return codes as errors.

#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "lockstep/comm/communicator.hpp"

namespace lockstep {

class Beats;

enum class Ownership : bool { borrowed, owned };

struct Communicator::Handle {
  Handle(MPI_Comm mpi_communicator, Ownership whose) noexcept
      : communicator(mpi_communicator), ownership(whose) {}
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  MPI_Comm communicator;
  Ownership ownership;
  Traffic traffic;
  std::shared_ptr<Beats> beats;   // shared with the communicators made of this one; may be null
  std::uint64_t id = 0;           // equal on all ranks, different from that of its relatives
  std::int64_t num_children = 0;  // communicators made of this one
  std::int64_t num_calls = 0;     // collectives, equal on all ranks between two of them
  std::atomic_flag is_in_use;     // by a thread that is in a call
};

/// Throws CommunicationError naming `call` unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

}  // namespace lockstep
