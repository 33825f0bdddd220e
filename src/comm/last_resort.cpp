#include "comm/last_resort.hpp"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "lockstep/comm/watchdog.hpp"

namespace lockstep {
namespace {

std::array<char, 160> last_words{};

void end_process(int) {
  // Nothing else may be done within a signal.
  const std::string_view words(last_words.data());
  [[maybe_unused]] const auto written = write(STDERR_FILENO, words.data(), words.size());
  _exit(exit_stalled);
}

}  // namespace

LastResort::LastResort(const char* call, std::chrono::duration<double> limit) noexcept
    : is_armed_(limit.count() > 0.0) {
  if (!is_armed_) return;
  std::snprintf(last_words.data(), last_words.size(),
                "lockstep: %s did not come back for %.1f s; process %d ends with exit code %d\n",
                call, limit.count(), static_cast<int>(getpid()), exit_stalled);
  struct sigaction action {};
  action.sa_handler = end_process;
  sigaction(SIGALRM, &action, &action_before_);
  const double seconds = std::floor(limit.count());
  const itimerval timer{
      {0, 0},
      {static_cast<time_t>(seconds), static_cast<suseconds_t>(1e6 * (limit.count() - seconds))}};
  setitimer(ITIMER_REAL, &timer, &timer_before_);
}

LastResort::~LastResort() {
  if (!is_armed_) return;
  setitimer(ITIMER_REAL, &timer_before_, nullptr);
  sigaction(SIGALRM, &action_before_, nullptr);
}

}  // namespace lockstep
