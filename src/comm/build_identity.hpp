// Which build of the library this is.

#pragma once

#include <string>

namespace lockstep {

/// The version, and the name that the linker gave to the file that holds the library, in
/// hexadecimal: equal where the files are. Without such a name the version alone.
[[nodiscard]] std::string build_identity();

}  // namespace lockstep
