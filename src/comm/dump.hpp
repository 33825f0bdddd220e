// SIGUSR2: the rank writes down where it is and goes on.

#pragma once

#include <atomic>
#include <string>
#include <string_view>

namespace lockstep {

namespace detail {
extern std::atomic<bool> is_dump_asked;  // by the signal
extern bool has_dump_signal;
void dump() noexcept;
}  // namespace detail

/// True when journals are wanted for the signal.
[[nodiscard]] inline bool is_dump_possible() noexcept { return detail::has_dump_signal; }

/// Writes the journal of this thread to stderr, if the signal has come since the last time.
inline void dump_if_asked() noexcept {
  if (detail::is_dump_asked.load(std::memory_order_relaxed)) detail::dump();
}

/// Writes lines to stderr at once, so that those of several ranks do not mix.
void write_to_stderr(std::string_view text) noexcept;

/// "rank 3 on host", by its number in MPI_COMM_WORLD; 0 without MPI.
[[nodiscard]] std::string name_of_this_rank();

}  // namespace lockstep
