#include "comm/dump.hpp"

#include <mpi.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "comm/caller.hpp"
#include "comm/journal.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/comm/watchdog.hpp"

namespace lockstep {
namespace detail {

std::atomic<bool> is_dump_asked{false};
bool has_dump_signal = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may set it");

void dump() noexcept {
  is_dump_asked.store(false, std::memory_order_relaxed);
  write_to_stderr("lockstep: the last collectives of " + name_of_this_rank() + ":\n" +
                  Journal::of_this_thread().text());
}

}  // namespace detail

std::string name_of_this_rank() {
  int rank = 0;
  if (is_mpi_running()) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return fmt::format("rank {} on {}", rank, host_name());
}

void write_to_stderr(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void dump_collectives_on_signal() {
  detail::has_dump_signal = true;
  struct sigaction action {};
  action.sa_handler = [](int) { detail::is_dump_asked.store(true, std::memory_order_relaxed); };
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
}

}  // namespace lockstep
