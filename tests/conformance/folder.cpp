#include "conformance/folder.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "conformance/parse.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep::conformance {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream || !fs::is_regular_file(path))
    throw DataError(fmt::format("{} cannot be read", path.string()));
  return content;
}

std::vector<fs::path> group_files_in(const fs::path& folder,
                                     const std::vector<std::string>& groups) {
  std::vector<fs::path> files;
  for (const std::string& group : groups) files.push_back(folder / (group + ".json"));
  if (!groups.empty()) return files;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  if (failure)
    throw DataError(fmt::format("{} cannot be read: {}", folder.string(), failure.message()));
  std::ranges::sort(files);
  return files;
}

// Files that are no groups may lie beside those that are; a file that was asked for must be one.
std::vector<Case> cases_of(const fs::path& file, bool may_be_other) {
  try {
    const nlohmann::json group = nlohmann::json::parse(content_of(file));
    if (may_be_other && group.is_object() && !group.contains("format")) return {};
    const auto blob =
        std::make_shared<const std::string>(content_of(file.parent_path() / blob_name_of(group)));
    return parse_group(group, blob);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{} is damaged: {}", file.string(), error.what()));
  } catch (const FormatError& error) {
    throw DataError(fmt::format("{} is damaged: {}", file.string(), error.what()));
  }
}

}  // namespace

std::vector<Case> cases_in(const fs::path& folder, const std::vector<std::string>& groups) {
  std::vector<Case> cases;
  std::set<std::string> ids;
  for (const fs::path& file : group_files_in(folder, groups))
    for (Case& one : cases_of(file, groups.empty())) {
      if (!ids.insert(one.id).second)
        throw DataError(fmt::format("{} has a second case '{}'", file.string(), one.id));
      cases.push_back(std::move(one));
    }
  if (cases.empty()) throw DataError(fmt::format("{} has no case", folder.string()));
  return cases;
}

}  // namespace lockstep::conformance
