#include "comm/caller.hpp"

#include <mpi.h>
#include <pthread.h>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

bool is_child = false;

bool is_initialized() noexcept {
  int flag = 0;
  MPI_Initialized(&flag);
  return flag != 0;
}

bool is_finalized() noexcept {
  int flag = 0;
  MPI_Finalized(&flag);
  return flag != 0;
}

bool is_thread_allowed() noexcept {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (level >= MPI_THREAD_SERIALIZED) return true;
  int is_main = 0;
  MPI_Is_thread_main(&is_main);
  return is_main != 0;
}

}  // namespace

bool is_mpi_running() noexcept { return !is_child && is_initialized() && !is_finalized(); }

bool is_fork() noexcept { return is_child; }

void notice_forks() noexcept {
  [[maybe_unused]] static const int once =
      pthread_atfork(nullptr, nullptr, [] { is_child = true; });
}

void check_caller() {
  if (is_child)
    throw StateError(
        "this process is a fork of a rank of an MPI job; only the process that started MPI may "
        "send messages, a fork may use what needs none");
  if (!is_initialized())
    throw StateError("MPI is not running; create a lockstep::Environment first, once, in main()");
  if (is_finalized())
    throw StateError(
        "MPI has ended; no message can be sent after the lockstep::Environment is gone");
  if (!is_thread_allowed())
    throw StateError(
        "messages must be sent by the thread that started MPI; to send from others, one at a time, "
        "start MPI with MPI_Init_thread(..., MPI_THREAD_SERIALIZED, ...) before the "
        "lockstep::Environment");
}

}  // namespace lockstep
