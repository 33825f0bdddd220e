// Groups of ranks.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Messages and bytes that this process handed to MPI collectives, and the time it spent in them.
struct Traffic {
  std::int64_t num_messages = 0;  ///< calls of MPI collectives
  std::int64_t num_bytes = 0;     ///< bytes contributed by this rank
  double seconds = 0.0;           ///< wall-clock time in those calls, waiting for others included
};

/// A group of ranks with message traffic of its own (an owned duplicate of an MPI communicator).
///
/// Default-constructed it is solo: one rank, no MPI call ever, usable without MPI. "All ranks, some
/// ranks, none" is which communicator one holds. Open MPI offers many thousand communicators, MPICH
/// about 2000; a synchronized layer takes three.
class LOCKSTEP_EXPORT Communicator {
 public:
  Communicator() noexcept;
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  ~Communicator();

  /// All ranks of the job. Throws StateError when MPI is not running. Collective.
  [[nodiscard]] static Communicator world();

  /// A second communicator of the same ranks. Collective.
  [[nodiscard]] Communicator dup() const;

  /// One communicator per value of `color`, ranks ordered by their rank here. Throws ArgumentError
  /// on all ranks when a color is negative. Collective.
  [[nodiscard]] Communicator split(int color) const;

  /// One communicator per machine, ranks ordered by their rank here. Collective.
  [[nodiscard]] Communicator split_by_node() const;

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }
  [[nodiscard]] bool is_solo() const noexcept { return size_ == 1; }

  /// What went through this communicator, duplicates not included.
  [[nodiscard]] Traffic traffic() const noexcept;

  struct Handle;  ///< the MPI communicator; known to the module comm only
  [[nodiscard]] Handle* handle() const noexcept { return handle_.get(); }
  explicit Communicator(std::unique_ptr<Handle> handle);

 private:
  std::unique_ptr<Handle> handle_;  // null: solo without MPI
  int rank_ = 0;
  int size_ = 1;
};

/// What went through all communicators of this process so far.
[[nodiscard]] LOCKSTEP_EXPORT Traffic total_traffic() noexcept;

/// Name of the machine that this process runs on.
[[nodiscard]] LOCKSTEP_EXPORT std::string host_name();

}  // namespace lockstep
