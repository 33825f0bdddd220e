#include "io/checkpoint_folder.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "io/checkpoint_content.hpp"
#include "io/replace_file.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/checkpoints.hpp"
#include "lockstep/io/safetensors.hpp"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step_";
constexpr std::string_view suffix = ".safetensors";
constexpr const char* latest = "latest";

[[noreturn]] void fail(const char* what, const fs::path& path, const std::error_code& error) {
  throw DataError(fmt::format("cannot {} {}: {}", what, path.string(), error.message()));
}

// The number between prefix and suffix.
std::optional<std::int64_t> num_steps_in(std::string_view name) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  name.remove_suffix(std::min(suffix.size(), name.size()));
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 0) return std::nullopt;
  return number;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  if (!fs::exists(folder, error)) return entries;
  fs::directory_iterator iterator(folder, error);
  for (; !error && iterator != fs::directory_iterator(); iterator.increment(error))
    entries.push_back(iterator->path());
  if (error) fail("read", folder, error);
  return entries;
}

bool is_temporary(const std::string& name) {
  if (!name.ends_with(temporary_extension)) return false;
  return name.starts_with(std::string(latest) + ".") ||
         (name.starts_with(prefix) && name.find(std::string(suffix) + ".") != name.npos);
}

std::optional<double> validation_loss_of(const fs::path& path) {
  try {
    const SafetensorsHeader header = read_safetensors_header(path);
    const auto found = header.metadata.find(validation_loss_key);
    if (found == header.metadata.end()) return std::nullopt;
    double loss = 0.0;
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), loss);
    if (error != std::errc()) return std::nullopt;
    return loss;
  } catch (const DataError&) {
    return std::nullopt;  // a damaged file is no candidate
  }
}

// The newest of those with the smallest loss.
fs::path best_of(const std::vector<CheckpointFile>& newest_first) {
  fs::path best;
  std::optional<double> least;
  for (const CheckpointFile& file : newest_first) {
    const std::optional<double> loss = validation_loss_of(file.path);
    if (!loss || (least && *loss >= *least)) continue;
    least = loss;
    best = file.path;
  }
  return best;
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) fail("remove", path, error);
}

void set_aside(const fs::path& path) {
  std::error_code error;
  fs::rename(path, fs::path(path) += ".abandoned", error);
  if (error) fail("rename", path, error);
}

}  // namespace

std::vector<CheckpointFile> checkpoints_in(const fs::path& folder) {
  std::vector<CheckpointFile> files;
  for (const fs::path& path : entries_of(folder))
    if (const auto num_steps = num_steps_in(path.filename().string()))
      files.push_back({path, *num_steps});
  std::ranges::sort(files, std::ranges::greater(), &CheckpointFile::num_steps);
  return files;
}

fs::path path_of_checkpoint(const fs::path& folder, std::int64_t num_steps) {
  return folder / fmt::format("{}{:08}{}", prefix, num_steps, suffix);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("make the folder", folder, error);
}

void remove_temporaries(const fs::path& folder) {
  for (const fs::path& path : entries_of(folder))
    if (is_temporary(path.filename().string())) remove_file(path);
}

void set_latest(const fs::path& folder, std::int64_t num_steps) {
  replace_link(folder / latest, path_of_checkpoint(folder, num_steps).filename());
}

void clear_up(const fs::path& folder, std::int64_t num_steps, int keep, bool keep_best) {
  std::vector<CheckpointFile> files = checkpoints_in(folder);
  const auto is_later = [&](const CheckpointFile& file) { return file.num_steps > num_steps; };
  for (const CheckpointFile& file : files)
    if (is_later(file)) set_aside(file.path);
  std::erase_if(files, is_later);
  if (std::ssize(files) <= keep) return;
  const fs::path best = keep_best ? best_of(files) : fs::path();
  for (auto file = files.begin() + keep; file != files.end(); ++file)
    if (file->path != best) remove_file(file->path);
}

}  // namespace lockstep
