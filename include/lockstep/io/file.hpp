// Small text files that are there whole or not at all.

#pragma once

#include <filesystem>
#include <string_view>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Makes `text` the content of the file, replacing what was there. Whoever reads the file
/// meanwhile, or after a crash, finds the old or the new content. Throws DataError, with the path
/// and the system's reason, when that fails; the old content stays.
LOCKSTEP_EXPORT void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace lockstep
