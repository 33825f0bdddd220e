#include "inspect.hpp"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "exit_code.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/io/safetensors.hpp"
#include "output.hpp"

namespace ls = lockstep;

namespace {

using Json = nlohmann::ordered_json;
using Columns = std::array<std::string, 5>;

// What a file says may be long, which is for --json, and may not be for terminals.
std::string shortened(const std::string& text) {
  constexpr std::size_t width = 100;
  std::string line = text.substr(0, width);
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return line + (text.size() > width ? "..." : "");
}

std::string checksum_of(const ls::TensorEntry& entry) {
  return entry.checksum ? fmt::format("{:08x}", *entry.checksum) : "-";
}

Columns columns_of(const ls::TensorEntry& entry) {
  return {shortened(entry.name), std::string(ls::name_of(entry.dtype)), ls::to_string(entry.shape),
          std::to_string(entry.last - entry.first), checksum_of(entry)};
}

std::vector<ls::TensorEntry> by_name(std::vector<ls::TensorEntry> entries) {
  std::ranges::sort(entries, {}, &ls::TensorEntry::name);
  return entries;
}

std::string table_of(const std::vector<Columns>& rows) {
  std::array<std::size_t, std::tuple_size_v<Columns>> widths{};
  for (const Columns& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Columns& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string text_of(const std::string& file, const ls::SafetensorsHeader& header) {
  std::string text;
  for (const auto& [key, value] : header.metadata)
    text += fmt::format("{} = {}\n", shortened(key), shortened(value));
  std::vector<Columns> rows{{"tensor", "dtype", "shape", "bytes", "crc32c"}};
  for (const ls::TensorEntry& entry : by_name(header.entries)) rows.push_back(columns_of(entry));
  return text + table_of(rows) +
         fmt::format("{}: {} tensors, {}\n", file, header.entries.size(),
                     header.has_checksums ? "every byte is as it was written"
                                          : "without checksums, of another program");
}

Json json_of(const std::string& file, const ls::SafetensorsHeader& header) {
  Json tensors = Json::array();
  for (const ls::TensorEntry& entry : by_name(header.entries))
    tensors.push_back({{"name", entry.name},
                       {"dtype", ls::name_of(entry.dtype)},
                       {"shape", std::vector(entry.shape.begin(), entry.shape.end())},
                       {"bytes", entry.last - entry.first},
                       {"crc32c", checksum_of(entry)}});
  return {{"schema", "lockstep.inspect.1"},
          {"file", file},
          {"has_checksums", header.has_checksums},
          {"metadata", header.metadata},
          {"tensors", std::move(tensors)}};
}

// Names to what differs, in words.
using Differences = std::map<std::string, std::string>;

template <class Value, class Describe>
void compare(const std::map<std::string, Value>& ours, const std::map<std::string, Value>& theirs,
             Describe&& describe, Differences& differences) {
  for (const auto& [name, value] : ours) {
    const auto other = theirs.find(name);
    if (other == theirs.end())
      differences[name] = "only in the first file";
    else if (const std::string text = describe(value, other->second); !text.empty())
      differences[name] = text;
  }
  for (const auto& entry : theirs)
    if (!ours.contains(entry.first)) differences[entry.first] = "only in the second file";
}

template <class T>
std::int64_t num_different(const ls::Tensor& a, const ls::Tensor& b) {
  const auto *first = static_cast<const std::byte*>(a.data()),
             *second = static_cast<const std::byte*>(b.data());
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < a.num_elements(); ++i) {
    const auto offset = static_cast<std::size_t>(i) * sizeof(T);
    count += std::equal(first + offset, first + offset + sizeof(T), second + offset) ? 0 : 1;
  }
  return count;
}

std::int64_t num_different(const ls::Tensor& a, const ls::Tensor& b) {
  switch (ls::size_of(a.dtype())) {
    case 8:
      return num_different<std::int64_t>(a, b);
    case 4:
      return num_different<float>(a, b);
    case 2:
      return num_different<std::int16_t>(a, b);
    default:
      return num_different<std::int8_t>(a, b);
  }
}

std::string difference_of(const ls::Tensor& a, const ls::Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape())
    return fmt::format("{} {} and {} {}", ls::name_of(a.dtype()), ls::to_string(a.shape()),
                       ls::name_of(b.dtype()), ls::to_string(b.shape()));
  const std::int64_t count = num_different(a, b);
  return count == 0 ? "" : fmt::format("{} of {} elements differ", count, a.num_elements());
}

Differences differences_of(const std::string& file, const std::string& other) {
  const ls::TensorFile ours = ls::read_safetensors(std::filesystem::path(file));
  const ls::TensorFile theirs = ls::read_safetensors(std::filesystem::path(other));
  Differences differences;
  compare(ours.tensors, theirs.tensors, difference_of, differences);
  const auto of_texts = [](const std::string& a, const std::string& b) {
    return a == b ? "" : fmt::format("{} and {}", shortened(a), shortened(b));
  };
  compare(ours.metadata, theirs.metadata, of_texts, differences);
  return differences;
}

std::string comparison_of(const InspectOptions& options) {
  const Differences differences = differences_of(options.file, options.other);
  if (options.json)
    return Json{{"schema", "lockstep.difference.1"}, {"differences", differences}}.dump(
               -1, ' ', false, Json::error_handler_t::replace) +
           "\n";
  if (differences.empty()) return "the files hold the same\n";
  std::string text;
  for (const auto& [name, difference] : differences)
    text += shortened(name) + ": " + difference + "\n";
  return text;
}

std::string description_of(const InspectOptions& options) {
  const ls::SafetensorsHeader header = ls::verify_safetensors(options.file);
  if (!options.json) return text_of(options.file, header);
  return json_of(options.file, header).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

int inspect_here(const InspectOptions& options) {
  try {
    const std::string text =
        options.other.empty() ? description_of(options) : comparison_of(options);
    write_result(text);
    return exit_ok;
  } catch (const ls::DataError& error) {
    show(stderr, std::string("lockstep: ") + error.what() + "\n");
    return exit_checkpoint;
  }
}

}  // namespace

void add_inspect_options(CLI::App& app, InspectOptions& options) {
  app.add_option("FILE", options.file, "checkpoint, or any safetensors file")->required();
  app.add_option("OTHER", options.other, "file to be compared with");
  app.add_flag("--json", options.json, "write JSON to standard output");
}

int inspect(const ls::Communicator& world, const InspectOptions& options) {
  std::array<std::int64_t, 1> code{};
  if (world.rank() == 0) code[0] = inspect_here(options);
  ls::broadcast(world, std::as_writable_bytes(std::span(code)), 0);
  return static_cast<int>(code[0]);
}
