// Who may call MPI: a process in which it runs, and the thread that it was started for.

#pragma once

namespace lockstep {

/// True between MPI_Init and MPI_Finalize; false in a fork of the process that started MPI.
[[nodiscard]] bool is_mpi_running() noexcept;

/// True in a fork of a process that has used MPI through the library.
[[nodiscard]] bool is_fork() noexcept;

/// From now on is_fork() is known.
void notice_forks() noexcept;

/// Throws StateError, saying what to do, where MPI is not running, in a fork, and on a thread that
/// must not call MPI.
void check_caller();

}  // namespace lockstep
