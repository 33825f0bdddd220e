// What may fail on one rank before training begins, and must then end all of them.

#pragma once

#include <functional>
#include <stdexcept>

#include "lockstep/comm/communicator.hpp"

/// Something the user has to change: thrown on all ranks alike.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs `body` on every rank; throws UsageError on all of them when it throws on any. Collective.
void on_all_ranks(const lockstep::Communicator& world, const std::function<void()>& body);
