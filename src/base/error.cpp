#include "lockstep/base/error.hpp"

#include <utility>

namespace lockstep {

Error::Error(ErrorCode code, const std::string& message, std::shared_ptr<const ErrorOrigin> origin)
    : std::runtime_error(message), code_(code), origin_(std::move(origin)) {}

Error::~Error() = default;

void throw_error(ErrorCode code, const std::string& message,
                 std::shared_ptr<const ErrorOrigin> origin) {
  switch (code) {
    case ErrorCode::argument:
      throw ArgumentError(message, std::move(origin));
    case ErrorCode::mismatch:
      throw MismatchError(message, std::move(origin));
    case ErrorCode::state:
      throw StateError(message, std::move(origin));
    case ErrorCode::non_finite:
      throw NonFiniteError(message, std::move(origin));
    case ErrorCode::communication:
      throw CommunicationError(message, std::move(origin));
    case ErrorCode::data:
      throw DataError(message, std::move(origin));
    case ErrorCode::memory:
      throw MemoryError(message, std::move(origin));
    case ErrorCode::foreign:
      break;
  }
  throw ForeignError(message, std::move(origin));
}

}  // namespace lockstep
