// Ends the process when a call of MPI that cannot be watched does not come back.

#pragma once

#include <sys/time.h>

#include <chrono>
#include <csignal>

namespace lockstep {

/// While it lives, and for longer than `limit`, the process ends with exit code 75 and one line on
/// stderr that names `call`, by SIGALRM. 0: it does nothing. One at a time.
class LastResort {
 public:
  LastResort(const char* call, std::chrono::duration<double> limit) noexcept;
  ~LastResort();
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  bool is_armed_;
  struct sigaction action_before_ {};
  itimerval timer_before_{};  // an alarm of the user's
};

}  // namespace lockstep
