#include "lockstep/comm/environment.hpp"

#include <exception>

#include "comm/handle.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// True when MPI had to be started here.
bool start_mpi(int* argc, char*** argv) {
  int is_finalized = 0;
  check_mpi(MPI_Finalized(&is_finalized), "MPI_Finalized");
  if (is_finalized != 0)
    throw StateError("MPI was finalized and cannot start again; keep one Environment for main()");
  if (is_mpi_running()) return false;
  int provided = 0;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  return true;
}

}  // namespace

Environment::Environment()
    : owns_mpi_(start_mpi(nullptr, nullptr)), exceptions_in_flight_(std::uncaught_exceptions()) {}

Environment::Environment(int& argc, char**& argv)
    : owns_mpi_(start_mpi(&argc, &argv)), exceptions_in_flight_(std::uncaught_exceptions()) {}

Environment::~Environment() {
  if (owns_mpi_ && is_mpi_running() && std::uncaught_exceptions() == exceptions_in_flight_)
    MPI_Finalize();
}

}  // namespace lockstep
