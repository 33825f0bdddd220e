#include "io/output_file.hpp"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

[[noreturn]] void fail(std::string_view what, const std::filesystem::path& path, int error) {
  throw DataError(
      fmt::format("cannot {} {}: {}", what, path.string(), std::system_category().message(error)));
}

// Repeats a system call that a signal has interrupted.
template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, Opening opening) : path_(std::move(path)) {
  const int flags =
      O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (opening == Opening::replace ? O_TRUNC : 0);
  descriptor_ = uninterrupted([&] { return ::open(path_.c_str(), flags, 0666); });
  if (descriptor_ < 0) fail("open", errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::string_view bytes) {
  const off_t length = ::lseek(descriptor_, 0, SEEK_END);
  while (!bytes.empty()) {
    const ssize_t count =
        uninterrupted([&] { return ::write(descriptor_, bytes.data(), bytes.size()); });
    if (count < 0) {
      const int error = errno;
      [[maybe_unused]] const int restored = length < 0 ? -1 : ::ftruncate(descriptor_, length);
      fail("write to", error);
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void OutputFile::sync() {
  if (uninterrupted([&] { return ::fsync(descriptor_); }) < 0) fail("write to", errno);
}

void OutputFile::close() {
  // Not repeated when interrupted: Linux has closed the descriptor all the same.
  if (::close(std::exchange(descriptor_, -1)) < 0 && errno != EINTR) fail("write to", errno);
}

void OutputFile::fail(std::string_view what, int error) const {
  lockstep::fail(what, path_, error);
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor =
      uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) fail("open", folder, errno);
  const int error = uninterrupted([&] { return ::fsync(descriptor); }) < 0 ? errno : 0;
  ::close(descriptor);
  // Some file systems cannot do this for folders and say so by EINVAL.
  if (error != 0 && error != EINVAL) fail("write to", folder, error);
}

}  // namespace lockstep
