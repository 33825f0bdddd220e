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

/// Runs `body`, which must not be collective, on every rank. When it throws on any, all ranks throw
/// what the lowest of those did: UsageError for an argument or a file that cannot be used,
/// otherwise an agreed lockstep::Error. The message names the rank unless all failed alike.
/// Collective.
void on_all_ranks(const lockstep::Communicator& world, const std::function<void()>& body);
