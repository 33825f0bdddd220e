#include "lockstep/train/stop_signals.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

std::atomic<bool> exists{false};
std::atomic<bool> has_come{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // so that a handler may set it

extern "C" void note_signal(int) { has_come.store(true, std::memory_order_relaxed); }

constexpr std::array usual_signals{SIGUSR1, SIGTERM};

}  // namespace

StopSignals::StopSignals() : StopSignals(usual_signals) {}

StopSignals::StopSignals(std::span<const int> signals) {
  handled_.reserve(signals.size());
  if (exists.exchange(true))
    throw StateError("another StopSignals lives already; one is enough for a process");
  has_come.store(false);
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // calls of the system that wait go on
  for (const int signal : signals) {
    struct sigaction before {};
    if (sigaction(signal, &action, &before) != 0) {
      const std::string reason = std::system_category().message(errno);
      restore();
      throw ArgumentError(fmt::format("signal {} cannot be caught: {}", signal, reason));
    }
    handled_.push_back({signal, before});
  }
}

StopSignals::~StopSignals() { restore(); }

// In reverse order, since a signal may have been named twice.
void StopSignals::restore() noexcept {
  for (auto handled = handled_.rbegin(); handled != handled_.rend(); ++handled)
    sigaction(handled->signal, &handled->before, nullptr);
  exists.store(false);
}

bool StopSignals::have_come() const noexcept { return has_come.load(std::memory_order_relaxed); }

StopFile::StopFile(std::filesystem::path path, std::chrono::milliseconds interval)
    : path_(std::move(path)), interval_(interval) {}

bool StopFile::is_there() noexcept {
  const auto now = std::chrono::steady_clock::now();
  if (now >= next_look_) {
    std::error_code error;
    is_there_ = std::filesystem::exists(path_, error);
    next_look_ = now + interval_;
  }
  return is_there_;
}

void StopFile::remove() noexcept {
  std::error_code error;
  std::filesystem::remove(path_, error);
}

}  // namespace lockstep
