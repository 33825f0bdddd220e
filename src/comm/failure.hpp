// A failure of this rank on its way to all ranks.

#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "lockstep/base/error.hpp"

namespace lockstep {

/// What a rank reports about itself; layer, phase and step are added where it is sent.
struct Failure {
  ErrorCode code = ErrorCode::foreign;
  std::string cause;
  std::int64_t channel = -1;
};

/// The failure that the exception being handled stands for. Call within a catch block only.
/// An error that all ranks already agreed on is rethrown: it needs no second agreement. So is an
/// error of MPI itself: with it nothing can be agreed.
[[nodiscard]] Failure current_failure();

/// Runs `body` and returns what it threw, if anything. Does not allocate when nothing is thrown.
template <class Body>
[[nodiscard]] std::optional<Failure> attempt(Body&& body) {
  try {
    std::forward<Body>(body)();
    return std::nullopt;
  } catch (...) {
    return current_failure();
  }
}

/// Where in the program the ranks meet.
struct Meeting {
  std::string layer;
  std::string phase;
  std::int64_t step = -1;
};

class Communicator;

/// Tells every rank of `group` the failure of the lowest rank that has one, and throws it
/// everywhere. When no rank has one, the ranks stand at different meetings: MismatchError says
/// which. One fixed-size message. Collective.
[[noreturn]] void throw_agreed(const Communicator& group, const Meeting& meeting,
                               const std::optional<Failure>& failure);

}  // namespace lockstep
