// Life cycle of MPI in a program that uses lockstep.

#pragma once

#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Starts MPI and ends it with the scope. An MPI that is already up is adopted and never finalized.
///
/// Open MPI 4 that is started here sends up to 64 KiB between ranks of a node at once, in place of
/// 4 KiB: messages of a few thousand channels take half to two thirds of the time. Of the 4 MiB of
/// shared memory that Open MPI reserves per rank, 512 KiB are then in use early, in place of 32.
/// Where the user has set `btl_vader_eager_limit`, or what else decides on that memory
/// (`btl_vader_free_list_*`, `btl_vader_segment_size`), by a variable, by mpirun or in a file, that
/// stays as it is. While MPI_Init runs the variables `OMPI_MCA_btl_vader_eager_limit` and
/// `OMPI_MCA_btl_vader_free_list_inc` are in the environment of the process; afterwards they are
/// not, so programs that it starts do not see them. No other thread may look at the environment
/// meanwhile.
///
/// While an exception leaves the scope MPI is not finalized either: ranks that still communicate
/// would wait for this one; mpirun ends the job instead.
class LOCKSTEP_EXPORT Environment {
 public:
  /// Throws StateError when MPI was finalized before, since MPI cannot be started twice, and in a
  /// fork of a rank; MismatchError on all ranks when they do not have the same build of the
  /// library, the same MPI, and the watchdog on or off alike. Collective.
  Environment();
  Environment(int& argc, char**& argv);

  /// Collective when this object started MPI. The watchdog counts the time that a rank waits here
  /// for others.
  ~Environment();

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// True when this object started MPI and will end it.
  [[nodiscard]] bool owns_mpi() const noexcept { return owns_mpi_; }

 private:
  bool owns_mpi_ = false;
  int exceptions_in_flight_ = 0;
  Communicator world_;
};

/// Name and version of the MPI library in one line, such as "Open MPI v4.1.4". Works without a
/// running MPI.
[[nodiscard]] LOCKSTEP_EXPORT std::string mpi_version();

}  // namespace lockstep
