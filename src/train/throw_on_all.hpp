// An error whose text all ranks have already.

#pragma once

#include <string>

#include "comm/failure.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Throws on every rank of `group` the error of rank 0, in full: agreements carry only the
/// beginning of a long text. Local; all ranks give the same.
[[noreturn]] void throw_on_all(const Communicator& group, const Meeting& meeting, ErrorCode code,
                               const std::string& text);

}  // namespace lockstep
