// The order in which the merges of one step are due, so that a failing rank keeps its appointments.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "comm/exchange.hpp"

namespace lockstep {

/// The merges of a step in the order in which every rank makes them. An exchange may be due several
/// times in one step.
class Schedule {
 public:
  void clear() noexcept { due_.clear(); }
  void add(Exchange& exchange) { due_.push_back(&exchange); }

  /// Runs `body`, the step up to and including its last merge. When this rank fails in between, it
  /// takes the failure to the next merge that is due with ranks that do not know of it: there all
  /// throw the same error. With nobody left to tell, this rank throws it alone. Collective.
  template <class Body>
  void keep(std::int64_t step, Body&& body) {
    begin();
    if (auto failure = attempt(std::forward<Body>(body))) report(step, std::move(*failure));
  }

 private:
  void begin();
  [[noreturn]] void report(std::int64_t step, Failure failure);

  std::vector<Exchange*> due_;
  std::vector<std::int64_t> done_when_;  // appointment count of due_[i] once it has taken place
};

}  // namespace lockstep
