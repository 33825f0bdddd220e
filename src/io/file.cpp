#include "lockstep/io/file.hpp"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <system_error>

#include "io/output_file.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}.tmp", ::getpid());
  try {
    OutputFile file(temporary, Opening::replace);
    file.write(text);
    file.sync();
    file.close();
    std::error_code error;
    std::filesystem::rename(temporary, path, error);
    if (error)
      throw DataError(fmt::format("cannot replace {}: {}", path.string(), error.message()));
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace lockstep
