#include "io/replace_file.hpp"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <system_error>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// Makes something under a temporary name and gives it the name `path`.
template <class Make>
void replace(const std::filesystem::path& path, Make&& make) {
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}{}", ::getpid(), temporary_extension);
  try {
    make(temporary);
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

}  // namespace

void replace_file(const std::filesystem::path& path, const std::function<void(OutputFile&)>& write,
                  const std::function<void(const std::filesystem::path&)>& check) {
  replace(path, [&](const std::filesystem::path& temporary) {
    OutputFile file(temporary, Opening::replace);
    write(file);
    file.sync();
    file.close();
    if (check) check(temporary);
  });
}

void replace_link(const std::filesystem::path& path, const std::filesystem::path& target) {
  replace(path, [&](const std::filesystem::path& temporary) {
    std::error_code error;
    std::filesystem::remove(temporary, error);
    std::filesystem::create_symlink(target, temporary, error);
    if (error)
      throw DataError(fmt::format("cannot make the link {}: {}", path.string(), error.message()));
  });
}

}  // namespace lockstep
