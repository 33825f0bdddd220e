// A file being written, whose errors say which file and why.

#pragma once

#include <filesystem>
#include <string_view>

namespace lockstep {

enum class Opening { append, replace };

/// An open file. Every failure is a DataError with the path and the system's reason.
class OutputFile {
 public:
  OutputFile(std::filesystem::path path, Opening opening);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();  ///< closes; errors of that are lost, unlike those of close()

  /// Appends all of `bytes`. A regular file keeps the length it had when that fails.
  void write(std::string_view bytes);

  /// Waits until everything written is on the disk.
  void sync();

  void close();

 private:
  [[noreturn]] void fail(std::string_view what, int error) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Waits until what was created, renamed or removed in `folder` is on the disk.
void sync_folder(const std::filesystem::path& folder);

}  // namespace lockstep
