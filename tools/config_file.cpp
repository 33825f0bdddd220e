#include "config_file.hpp"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "suggestion.hpp"

namespace {

using Json = nlohmann::json;
using namespace std::string_view_literals;

constexpr std::string_view schema = "lockstep.config.1";

// What is said about a run, and what only a command line can say.
constexpr std::array about_run{"schema"sv, "version"sv, "ranks"sv};
constexpr std::array refused{"help"sv, "config"sv, "resume"sv, "dry_run"sv};

std::string key_of(std::string long_name) {
  std::ranges::replace(long_name, '-', '_');
  return long_name;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& problem) {
  throw CLI::ValidationError("--config", path.string() + ": " + problem);
}

// Lists and objects may be nested too deeply to be shown.
std::string text_of(const Json& json) {
  return json.is_structured() ? fmt::format("an {}", json.type_name()) : json.dump();
}

Json object_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) refuse(path, std::system_category().message(errno));
  const Json json = Json::parse(file, nullptr, false);
  if (!json.is_object()) refuse(path, "expected a JSON object");
  if (json.value("schema", Json(schema)) != schema)
    refuse(path, fmt::format("expected the schema {}, got {}", schema, text_of(json["schema"])));
  return json;
}

CLI::Option* option_of(CLI::App& app, const std::string& key, std::vector<std::string>& known) {
  for (CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) {
      if (std::ranges::find(refused, key_of(name)) != refused.end()) continue;
      if (key_of(name) == key) return option;
      known.push_back(key_of(name));
    }
  return nullptr;
}

}  // namespace

void read_config_file(CLI::App& app, const std::filesystem::path& path) {
  const Json options = object_in(path);
  for (const auto& item : options.items()) {
    const std::string& key = item.key();
    if (std::ranges::find(about_run, key) != about_run.end()) continue;
    std::vector<std::string> known;
    CLI::Option* const option = option_of(app, key, known);
    if (option == nullptr)
      refuse(path, fmt::format("there is no option '{}'{}", key, suggestion_for(key, known)));
    if (item.value().is_structured() || item.value().is_null())
      refuse(path, fmt::format("'{}' cannot be {}", key, text_of(item.value())));
    if (option->count() > 0) continue;
    try {
      option->add_result(item.value().is_string() ? item.value().get<std::string>()
                                                  : item.value().dump());
      option->run_callback();
    } catch (const CLI::Error& error) {
      refuse(path, error.what());
    }
  }
}
