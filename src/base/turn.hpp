// One thread at a time.

#pragma once

#include <atomic>

#include "lockstep/base/error.hpp"

namespace lockstep {

/// The right of a thread to use what a flag stands for, as long as it lives. Nobody waits: throws
/// StateError where another one has it.
class Turn {
 public:
  explicit Turn(std::atomic_flag& is_taken) : is_taken_(is_taken) {
    if (is_taken_.test_and_set(std::memory_order_acquire))
      throw StateError(
          "two threads use one layer, model or communicator at once; let one wait for the other, "
          "or give each its own");
  }
  ~Turn() { is_taken_.clear(std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic_flag& is_taken_;
};

}  // namespace lockstep
