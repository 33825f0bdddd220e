#include "lockstep/io/json_lines.hpp"

#include <spdlog/fmt/fmt.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/output_file.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// True when the file's last line lacks its end, as a crash of the machine may leave it.
bool is_torn(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() <= 0) return false;
  file.seekg(-1, std::ios::end);
  return file.get() != '\n';
}

}  // namespace

std::string to_json_line(const Record& record) {
  using Json = nlohmann::ordered_json;
  Json object = Json::object();
  for (const Field& field : record) {
    if (object.contains(field.name))
      throw ArgumentError(fmt::format("a record has two fields named '{}'", field.name));
    object[field.name] = std::visit([](const auto& value) { return Json(value); }, field.value);
  }
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

JsonLinesWriter::JsonLinesWriter(const std::filesystem::path& path)
    : file_(std::make_unique<OutputFile>(path, Opening::append)) {
  if (is_torn(path)) file_->write("\n");
}

JsonLinesWriter::JsonLinesWriter(JsonLinesWriter&&) noexcept = default;
JsonLinesWriter& JsonLinesWriter::operator=(JsonLinesWriter&&) noexcept = default;
JsonLinesWriter::~JsonLinesWriter() = default;

void JsonLinesWriter::write(const Record& record) { file_->write(to_json_line(record) + '\n'); }

}  // namespace lockstep
