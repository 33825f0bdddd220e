// Errors of the library: one hierarchy, equal on every rank once the ranks have agreed.

#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// What kind of failure it was; decides the exception type on every rank.
enum class ErrorCode : std::int32_t {
  foreign = 1,    ///< an exception of a type that is not lockstep's own
  argument,       ///< an option, shape, dtype or view that cannot be used
  mismatch,       ///< ranks that should agree do not
  state,          ///< a call that does not fit what happened before
  non_finite,     ///< NaN or infinity where numbers are required
  communication,  ///< MPI reported an error
  data,           ///< a file is missing, damaged or does not fit
  memory,         ///< memory could not be had
};

/// Where a failure happened that all ranks of a group have agreed on.
struct ErrorOrigin {
  int rank = 0;               ///< rank within the group of the layer or model
  int num_ranks = 1;          ///< size of that group: all of its ranks throw this error
  bool is_here = false;       ///< true on the rank where it happened
  std::string host;           ///< name of its machine
  std::string layer;          ///< layer, or the part of the runtime that failed
  std::string phase;          ///< build, forward, backward, gradients, ...
  std::int64_t step = -1;     ///< training step, or call of the layer; -1: none
  std::int64_t channel = -1;  ///< channel; -1: none
  std::string cause;          ///< the message on that rank
};

/// Base of all errors of the library.
class LOCKSTEP_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message,
        std::shared_ptr<const ErrorOrigin> origin = nullptr);
  ~Error() override;

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

  /// Where it happened; null while only this rank knows of the failure.
  [[nodiscard]] const ErrorOrigin* origin() const noexcept { return origin_.get(); }

  /// True when every rank of the group throws this same error.
  [[nodiscard]] bool is_agreed() const noexcept { return origin_ != nullptr; }

 private:
  ErrorCode code_;
  std::shared_ptr<const ErrorOrigin> origin_;
};

/// An Error whose type says its code, so that it can be caught by kind.
template <ErrorCode error_code>
class LOCKSTEP_EXPORT ErrorOf final : public Error {
 public:
  explicit ErrorOf(const std::string& message, std::shared_ptr<const ErrorOrigin> origin = nullptr)
      : Error(error_code, message, std::move(origin)) {}
};

using ForeignError = ErrorOf<ErrorCode::foreign>;
using ArgumentError = ErrorOf<ErrorCode::argument>;
using MismatchError = ErrorOf<ErrorCode::mismatch>;
using StateError = ErrorOf<ErrorCode::state>;
using NonFiniteError = ErrorOf<ErrorCode::non_finite>;
using CommunicationError = ErrorOf<ErrorCode::communication>;
using DataError = ErrorOf<ErrorCode::data>;
using MemoryError = ErrorOf<ErrorCode::memory>;

/// Throws the error type that belongs to `code`.
[[noreturn]] LOCKSTEP_EXPORT void throw_error(ErrorCode code, const std::string& message,
                                              std::shared_ptr<const ErrorOrigin> origin = nullptr);

}  // namespace lockstep
