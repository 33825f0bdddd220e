// The order in which the merges of one step are due, so that a failing rank keeps its appointments.

#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "comm/exchange.hpp"

namespace lockstep {

/// The merges of a step in the order in which every rank makes them. An exchange may be due several
/// times in one step, each time with all of its parts.
class Schedule {
 public:
  void clear() noexcept { due_.clear(); }
  void add(Exchange& exchange);

  /// Runs `body`, the step up to and including its last merge. When this rank fails in between, it
  /// takes the failure to the next merge that is due with ranks that do not know of it: there all
  /// throw the same error. With nobody left to tell, this rank throws it alone. A body that ends
  /// without a merge that is due is a failure too: StateError. Collective.
  template <class Body>
  void keep(std::int64_t step, Body&& body) {
    keep(step, std::forward<Body>(body), [] { return std::nullopt; });
  }
  /// The same for a body that knows where it is: `place_of` gives the Meeting that an error names.
  template <class Body, class Place>
  void keep(std::int64_t step, Body&& body, Place&& place_of) {
    begin();
    auto failure = attempt(std::forward<Body>(body));
    if (failure && !failure->place) failure->place = std::forward<Place>(place_of)();
    if (!failure) failure = missed_merge();
    if (failure) report(step, std::move(*failure));
  }

  /// Instead of keep(), for a rank that failed before the step. Collective, with keep() of others.
  [[noreturn]] void fail(std::int64_t step, Failure failure);

 private:
  struct Appointment {
    Exchange* exchange;
    std::int64_t nth;        // time of the exchange in this step, from 1
    std::int64_t done_when;  // number of appointments of the exchange once this one took place
  };

  [[nodiscard]] static bool is_pending(const Appointment& appointment) noexcept;
  void begin() noexcept;
  [[nodiscard]] std::optional<Failure> missed_merge() const;
  [[noreturn]] void report(std::int64_t step, Failure failure);

  std::vector<Appointment> due_;
};

}  // namespace lockstep
