// A failure of this rank on its way to all ranks.

#pragma once

#include <cstdint>
#include <exception>
#include <memory>
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

/// What a rank reports about itself; layer, phase and step are added where it is sent.
struct Failure {
  ErrorCode code = ErrorCode::foreign;
  std::string cause;
  std::int64_t channel = -1;
  std::shared_ptr<const ErrorOrigin> origin = nullptr;  ///< of an error that a group agreed on
  std::optional<Meeting> place = std::nullopt;          ///< empty: where it is reported

  /// How many ranks throw it already: this one, or the group that agreed on it.
  [[nodiscard]] int num_informed() const noexcept { return origin ? origin->num_ranks : 1; }
};

/// The failure that the exception being handled stands for. Call within a catch block only.
/// An error of MPI itself is rethrown: with it nothing can be agreed.
[[nodiscard]] Failure current_failure();

/// Throws the failure on this rank only: the error that it was, or the type of its code.
[[noreturn]] void rethrow(const Failure& failure);

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

class Communicator;

/// Rethrows a failure that all ranks of `group` throw already, so that none of them needs the
/// meeting any more. Groups are nested: the larger of two holds the smaller.
void rethrow_if_known(const Communicator& group, const std::optional<Failure>& failure);

/// Tells every rank of `group` the failure of the lowest rank that has one of its own, and throws
/// it everywhere. An error that a smaller group agreed on keeps the place where it happened. When
/// no rank has a failure, the ranks stand at different meetings: MismatchError says which. One
/// fixed-size message. Collective.
[[noreturn]] void throw_agreed(const Communicator& group, const Meeting& meeting,
                               const std::optional<Failure>& failure);

}  // namespace lockstep
