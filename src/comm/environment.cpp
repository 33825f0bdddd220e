#include "lockstep/comm/environment.hpp"

#include <array>
#include <exception>
#include <sstream>
#include <string_view>

#include "comm/beats.hpp"
#include "comm/caller.hpp"
#include "comm/last_resort.hpp"
#include "comm/mpi_call.hpp"
#include "comm/open_mpi_defaults.hpp"
#include "comm/stall_report.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// True when MPI had to be started here.
bool start_mpi(int* argc, char*** argv) {
  if (is_fork())
    throw StateError("this process is a fork of a rank of an MPI job and cannot start MPI");
  int is_finalized = 0;
  check_mpi(MPI_Finalized(&is_finalized), "MPI_Finalized");
  if (is_finalized != 0)
    throw StateError("MPI was finalized and cannot start again; keep one Environment for main()");
  if (is_mpi_running()) return false;
  const OpenMpiDefaults defaults;
  int provided = 0;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  notice_forks();
  return true;
}

// Ranks wait for each other here, where the watchdog sees them, rather than in MPI_Finalize.
void meet_at_end(const Communicator& world) {
  if (world.is_solo() || !is_watching()) return;
  const Journal::Place here(end_of_mpi);
  call(world, Collective{"MPI_Barrier", MPI_Barrier, MPI_Ibarrier, false}, 0);
}

}  // namespace

Environment::Environment()
    : owns_mpi_(start_mpi(nullptr, nullptr)),
      exceptions_in_flight_(std::uncaught_exceptions()),
      world_(Communicator::world()) {
  Beats::share(world_.handle()->beats);
}

Environment::Environment(int& argc, char**& argv)
    : owns_mpi_(start_mpi(&argc, &argv)),
      exceptions_in_flight_(std::uncaught_exceptions()),
      world_(Communicator::world()) {
  Beats::share(world_.handle()->beats);
}

Environment::~Environment() {
  if (!owns_mpi_ || !is_mpi_running() || std::uncaught_exceptions() != exceptions_in_flight_)
    return;
  static_cast<void>(attempt([&] { meet_at_end(world_); }));
  Beats::end_sharing();
  world_ = Communicator();
  const LastResort resort("MPI_Finalize", longest_call());
  MPI_Finalize();
}

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  // Name and version come first; Open MPI ends them by a comma, others by the line's end.
  const std::string_view all(text.data(), static_cast<std::size_t>(length));
  std::istringstream words{std::string(all.substr(0, all.find_first_of(",\n")))};
  std::string version;
  for (std::string word; words >> word;) version += (version.empty() ? "" : " ") + word;
  return version;
}

}  // namespace lockstep
