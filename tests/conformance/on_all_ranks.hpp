// What may fail on one rank and must then end the case on all.

#pragma once

#include <functional>
#include <stdexcept>

#include "lockstep/comm/communicator.hpp"

namespace lockstep::conformance {

/// Why a case failed; thrown on all ranks alike.
class CaseFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs `body` on every rank; what it sends must end on all ranks when it fails on one. When it
/// throws on any, all ranks throw CaseFailure with what the lowest of those said. Collective.
void on_all_ranks(const Communicator& world, const std::function<void()>& body);

}  // namespace lockstep::conformance
