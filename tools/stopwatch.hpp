// How long something takes on this rank, and how much of that it communicates.

#pragma once

#include <chrono>

#include "lockstep/comm/communicator.hpp"

/// Runs from its construction on.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

  /// Part of the time that was spent in MPI's collectives, in [0, 1].
  [[nodiscard]] double communication_share() const {
    const double communication = lockstep::total_traffic().seconds - communication_before_;
    return communication / seconds();
  }

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point start_ = Clock::now();
  double communication_before_ = lockstep::total_traffic().seconds;
};
