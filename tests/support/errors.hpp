// What a rank caught, and whether all ranks caught the same.

#pragma once

#include <exception>
#include <optional>
#include <span>
#include <string>
#include <typeinfo>

#include "lockstep/base/error.hpp"
#include "lockstep/comm/communicator.hpp"
#include "support/mpi.hpp"

namespace lockstep::testing {

/// An error as a value. All members are empty when nothing was thrown.
struct Caught {
  std::string type;               ///< as the compiler names it
  std::optional<ErrorCode> code;  ///< of an error of lockstep's own
  std::string what;
  std::optional<ErrorOrigin> origin;  ///< of an agreed error

  /// True for the type that belongs to `error_code`.
  [[nodiscard]] bool is(ErrorCode error_code) const { return code == error_code; }
  /// Of the rank that failed; -1 when the error is not agreed.
  [[nodiscard]] int rank() const { return origin ? origin->rank : -1; }
};

/// Runs `body` and returns what it threw.
template <class Body>
[[nodiscard]] Caught caught_from(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    Caught caught{typeid(error).name(), error.code(), error.what(), std::nullopt};
    if (error.origin() != nullptr) caught.origin = *error.origin();
    return caught;
  } catch (const std::exception& error) {
    return {typeid(error).name(), std::nullopt, error.what(), std::nullopt};
  }
  return {};
}

/// True when `text` is the same on all ranks. Collective.
[[nodiscard]] inline bool is_same_on_all_ranks(const Communicator& group, const std::string& text) {
  return is_same_on_all_ranks(group, std::as_bytes(std::span(text)));
}

/// True when all ranks caught the same error and agreed on it: type, message and origin.
/// Collective.
[[nodiscard]] inline bool is_same_on_all_ranks(const Communicator& group, const Caught& caught) {
  std::string text = caught.type + '\n' + caught.what;
  bool is_agreed = caught.origin.has_value();
  if (caught.origin) {
    const ErrorOrigin& o = *caught.origin;
    for (const std::string& field : {o.host, o.layer, o.phase, o.cause}) text += '\n' + field;
    for (const std::int64_t number : {std::int64_t{o.rank}, o.step, o.channel})
      text += '\n' + std::to_string(number);
    is_agreed = o.num_ranks == group.size() && o.is_here == (o.rank == group.rank());
  }
  text += is_agreed ? "" : "\nnot agreed on rank " + std::to_string(group.rank());
  return is_same_on_all_ranks(group, text) && is_agreed;
}

}  // namespace lockstep::testing
