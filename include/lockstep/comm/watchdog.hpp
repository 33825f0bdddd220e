// What happens when ranks wait for one that does not come.

#pragma once

#include <chrono>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Exit code of a job that stalled: it may be started again.
inline constexpr int exit_stalled = 75;

/// How long a rank waits for others in a message of the library.
struct WatchdogOptions {
  std::chrono::duration<double> warning{10.0};  ///< then a line on stderr says who has not come
  /// Then the ranks that wait tell each other so for 1.5 s. The first of them writes to stderr
  /// which rank gives no sign of life or waits elsewhere, where the others wait, and the last
  /// collectives. The job ends by MPI_Abort(75), or the process by exit code 75 where MPI does not
  /// come back from that. 0: off, messages are MPI's blocking calls, and nobody looks at a clock.
  std::chrono::duration<double> stall_timeout{300.0};

  friend bool operator==(const WatchdogOptions&, const WatchdogOptions&) = default;
};

/// Sets the options of this process, which hold at once for all its communicators. Throws
/// ArgumentError for a negative number, MismatchError on all ranks of `group` when they differ.
/// Since messages differ where the watchdog is on and off, `group` should be all ranks; before the
/// first communicator is made, when every rank says the same, it may be Communicator(), which sends
/// nothing. Collective.
///
/// A rank that computes, or waits for something else than a message of the library, for longer than
/// `stall_timeout` while others wait for it is one that does not come.
LOCKSTEP_EXPORT void set_watchdog(const Communicator& group, const WatchdogOptions& options);

[[nodiscard]] LOCKSTEP_EXPORT WatchdogOptions watchdog() noexcept;

/// From now on SIGUSR2 makes this process write to stderr where it is and what its last collectives
/// were, as soon as it waits in a message or begins the next one; then it goes on. mpirun passes
/// the signal on to all ranks. With the watchdog off a message that waits already does not notice.
LOCKSTEP_EXPORT void dump_collectives_on_signal();

}  // namespace lockstep
