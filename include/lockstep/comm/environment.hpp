// Life cycle of MPI in a program that uses lockstep.

#pragma once

#include <string>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Starts MPI and ends it with the scope. An MPI that is already up is adopted and never finalized.
///
/// While an exception leaves the scope MPI is not finalized either: ranks that still communicate
/// would wait for this one; mpirun ends the job instead.
class LOCKSTEP_EXPORT Environment {
 public:
  /// Throws StateError when MPI was finalized before: MPI cannot be started twice. Collective.
  Environment();
  Environment(int& argc, char**& argv);

  /// Collective when this object started MPI.
  ~Environment();

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// True when this object started MPI and will end it.
  [[nodiscard]] bool owns_mpi() const noexcept { return owns_mpi_; }

 private:
  bool owns_mpi_ = false;
  int exceptions_in_flight_ = 0;
};

/// Name and version of the MPI library in one line, such as "Open MPI v4.1.4". Works without a
/// running MPI.
[[nodiscard]] LOCKSTEP_EXPORT std::string mpi_version();

}  // namespace lockstep
