// Records as JSON Lines: one JSON object per line, as https://jsonlines.org describes it.

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// A named value of a record.
struct Field {
  std::string name;
  std::variant<std::int64_t, double, std::string, bool> value;
};

/// Fields in the order in which they are written.
using Record = std::vector<Field>;

/// The record as a JSON object on one line, without the line's end. Doubles read back as the same
/// double; NaN and infinities, which JSON does not have, become null. Bytes that are not UTF-8
/// become U+FFFD. Throws ArgumentError when two fields have the same name.
[[nodiscard]] LOCKSTEP_EXPORT std::string to_json_line(const Record& record);

class OutputFile;

/// Appends records to a file. A line is with the operating system when write() returns: a process
/// that dies later does not lose it.
class LOCKSTEP_EXPORT JsonLinesWriter {
 public:
  /// Opens or creates the file; what is there stays. Throws DataError when that fails.
  explicit JsonLinesWriter(const std::filesystem::path& path);
  JsonLinesWriter(JsonLinesWriter&&) noexcept;
  JsonLinesWriter& operator=(JsonLinesWriter&&) noexcept;
  ~JsonLinesWriter();

  /// Appends a line. Throws DataError, with the path and the system's reason, when it cannot be
  /// written; the file then ends with the line before, and later records may be tried.
  void write(const Record& record);

 private:
  std::unique_ptr<OutputFile> file_;
};

}  // namespace lockstep
