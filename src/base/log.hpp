// What the library says by itself, without being asked and without failing.

#pragma once

#include <string_view>

namespace lockstep {

/// One line on standard error, "lockstep: warning: ...". What cannot be written is lost.
void warn(std::string_view message) noexcept;

}  // namespace lockstep
