// A failure of this rank on its way to all ranks.

#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "lockstep/base/error.hpp"

namespace lockstep {

/// Where in the program ranks meet, or one of them failed.
struct Meeting {
  std::string layer;
  std::string phase;
  std::int64_t step = -1;
};

/// What a rank reports about itself.
struct Failure {
  ErrorCode code = ErrorCode::foreign;
  std::string cause;
  std::int64_t channel = -1;
  std::optional<Meeting> place = std::nullopt;  ///< empty: where it is reported
};

/// The failure that the exception being handled stands for, to be told to a group of `num_ranks`.
/// Call within a catch block only. An error that so many ranks have agreed on already is rethrown:
/// it needs no second agreement. So is an error of MPI itself: with it nothing can be agreed.
[[nodiscard]] Failure current_failure(int num_ranks);

/// Runs `body` and returns what it threw, if anything, for a group of `num_ranks`. Does not
/// allocate when nothing is thrown.
template <class Body>
[[nodiscard]] std::optional<Failure> attempt(int num_ranks, Body&& body) {
  try {
    std::forward<Body>(body)();
    return std::nullopt;
  } catch (...) {
    return current_failure(num_ranks);
  }
}

class Communicator;

/// Tells every rank of `group` the failure of the lowest rank that has one, and throws it
/// everywhere. When no rank has one, the ranks stand at different meetings: MismatchError says
/// which. One fixed-size message. Collective.
[[noreturn]] void throw_agreed(const Communicator& group, const Meeting& meeting,
                               const std::optional<Failure>& failure);

}  // namespace lockstep
