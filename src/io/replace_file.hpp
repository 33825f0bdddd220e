// The one way in which files come into place: whole or not at all.

#pragma once

#include <filesystem>
#include <functional>

#include "io/output_file.hpp"

namespace lockstep {

/// Puts a new file in the place of `path`: `write` fills a temporary one beside it, `check` may
/// throw about that once it is on the disk, and then it takes the name. When anything throws, the
/// old file is untouched and the temporary one is gone; a process that dies may leave it.
void replace_file(const std::filesystem::path& path, const std::function<void(OutputFile&)>& write,
                  const std::function<void(const std::filesystem::path&)>& check = {});

/// Ends the names of temporary files, "<name of the file>.<process>.tmp".
inline constexpr const char* temporary_extension = ".tmp";

/// The same for a symbolic link to `target`.
void replace_link(const std::filesystem::path& path, const std::filesystem::path& target);

}  // namespace lockstep
