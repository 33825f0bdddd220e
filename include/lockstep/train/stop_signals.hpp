// What asks a training run to end early: signals and a file.

#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <span>
#include <vector>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// As long as it lives, signals that ask this process to end are only noted, so that a run can end
/// in order: by FitOptions::stop_when, or Trainer::request_stop() in a loop of one's own. Batch
/// systems send SIGUSR1, as mpirun passes it on to all ranks, or SIGTERM some time before they
/// kill; mpirun itself, when it gets SIGTERM, leaves the ranks a second.
class LOCKSTEP_EXPORT StopSignals {
 public:
  /// SIGUSR1 and SIGTERM.
  StopSignals();
  /// Throws ArgumentError for a signal that cannot be caught, StateError while another object of
  /// this type lives; nothing has changed then. Local.
  explicit StopSignals(std::span<const int> signals);
  /// Puts back what the process did with these signals before.
  ~StopSignals();

  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Whether one of the signals has come to this process.
  [[nodiscard]] bool have_come() const noexcept;

 private:
  void restore() noexcept;

  struct Handled {
    int signal;
    struct sigaction before;
  };
  std::vector<Handled> handled_;
};

/// A file that somebody makes in order to end a run. One rank has it, and looks at most once per
/// interval.
class LOCKSTEP_EXPORT StopFile {
 public:
  explicit StopFile(std::filesystem::path path,
                    std::chrono::milliseconds interval = std::chrono::seconds(1));

  /// Whether the file was there at the last look. What cannot be looked at is not there. Allocates
  /// nothing.
  [[nodiscard]] bool is_there() noexcept;

  /// Removes the file, so that it does not end the next run too.
  void remove() noexcept;

 private:
  std::filesystem::path path_;
  std::chrono::milliseconds interval_;
  std::chrono::steady_clock::time_point next_look_{};
  bool is_there_ = false;
};

}  // namespace lockstep
