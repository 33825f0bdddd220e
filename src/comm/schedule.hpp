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
  /// takes the failure to the merges that are due: there all ranks throw the same error. `place_of`
  /// says where in the step this rank is. Collective.
  template <class Body, class Place>
  void keep(std::int64_t step, Body&& body, Place&& place_of) {
    begin();
    auto failure = attempt(num_ranks_, std::forward<Body>(body));
    if (!failure) return;
    if (!failure->place) failure->place = place_of();
    tell(step, *failure);
  }

  /// Instead of keep(), for a rank that failed before the step. Collective, with keep() of others.
  [[noreturn]] void fail(std::int64_t step, const Failure& failure) {
    begin();
    tell(step, failure);
  }

 private:
  void begin();
  [[noreturn]] void tell(std::int64_t step, Failure failure);

  std::vector<Exchange*> due_;
  std::vector<std::int64_t> done_when_;  // appointment count of due_[i] once it has taken place
  int num_ranks_ = 1;                    // of the largest group
};

}  // namespace lockstep
