// Checks every #include of a source tree against the tables of its src/README.md.
//
//   check_floors ROOT
//
// Prints one line per violation; the exit code says whether there was any.

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct House {
  std::map<std::string, int> floors;                          // by module
  std::map<std::string, std::vector<std::string>> residents;  // paths by package
};

struct Include {
  std::string name;
  bool is_quoted;
};

struct File {
  std::string path;    // from the root
  std::string module;  // empty outside of modules
  std::vector<Include> includes;
};

std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }

bool has_folder(const std::string& path) { return path.find('/') != std::string::npos; }

std::string without(const std::string& prefix, const std::string& path) {
  return path.starts_with(prefix) ? path.substr(prefix.size()) : path;
}

bool is_public(const File& file) { return file.path.starts_with("include/"); }

// Users of the library as a whole: the command, the conformance runner, examples, headers above all
// modules.
bool is_user(const File& file) { return file.module.empty() || file.module == "tools"; }

std::vector<std::string> words_in_backticks(const std::string& line) {
  std::vector<std::string> words;
  std::size_t first = line.find('`');
  while (first != std::string::npos) {
    const std::size_t last = line.find('`', first + 1);
    if (last == std::string::npos) break;
    words.push_back(line.substr(first + 1, last - first - 1));
    first = line.find('`', last + 1);
  }
  return words;
}

House read_house(const fs::path& readme) {
  House house;
  std::string heading;
  std::ifstream stream(readme);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("## ")) heading = line;
    if (!line.starts_with("| `")) continue;
    const auto words = words_in_backticks(line);
    if (heading == "## Floors")
      house.floors[words.at(0)] = std::stoi(line.substr(line.find('|', 1) + 1));
    if (heading == "## Packages") house.residents[words.at(0)] = {words.begin() + 1, words.end()};
  }
  if (house.floors.empty() || house.residents.empty())
    throw std::runtime_error(readme.string() + " has no table of floors or no table of packages");
  return house;
}

std::optional<Include> include_in(std::string_view line) {
  const auto skip = [&](std::string_view token) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (!line.starts_with(token)) return false;
    line.remove_prefix(token.size());
    return true;
  };
  if (!skip("#") || !skip("include")) return std::nullopt;
  const bool is_quoted = skip("\"");
  if (!is_quoted && !skip("<")) return std::nullopt;
  return Include{std::string(line.substr(0, line.find_first_of("\">"))), is_quoted};
}

File read_file(const fs::path& root, const std::string& path) {
  const std::string inner = without("src/", without("include/lockstep/", path));
  File file{path, has_folder(inner) ? first_part(inner) : "", {}};
  if (file.module == "tests") file.module.clear();
  if (path.starts_with("tools/growth/")) file.module = "growth";
  std::ifstream stream(root / path);
  for (std::string line; std::getline(stream, line);)
    if (const auto include = include_in(line)) file.includes.push_back(*include);
  return file;
}

std::vector<File> read_files(const fs::path& root) {
  static const std::set<std::string> extensions{".hpp", ".cpp", ".h", ".c", ".in"};
  std::vector<File> files;
  for (const char* folder : {"include", "src", "tools", "tests/conformance", "tests/examples"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder))
      if (extensions.contains(entry.path().extension().string()))
        files.push_back(read_file(root, entry.path().lexically_relative(root).generic_string()));
  }
  return files;
}

// The judges say what is wrong with an include, and nothing when it is right.

std::string judge_floor(const House& house, const File& file, const std::string& module) {
  if (module == file.module) return "";
  if (!house.floors.contains(module)) return "is of no module in src/README.md";
  if (house.floors.at(module) < house.floors.at(file.module)) return "";
  return "is not on a lower floor than " + file.module;
}

std::string judge_package(const File& file, const std::vector<std::string>& residents) {
  const auto is_home = [&](const std::string& resident) {
    return file.path == resident || file.path.starts_with(resident + "/");
  };
  return std::ranges::any_of(residents, is_home) ? "" : "src/README.md does not allow here";
}

std::string judge(const House& house, const File& file, const Include& include) {
  const auto& [name, is_quoted] = include;
  if (const auto package = house.residents.find(first_part(name)); package != house.residents.end())
    return judge_package(file, package->second);
  if (name.starts_with("lockstep/")) {
    if (is_user(file)) return "";
    const std::string inner = without("lockstep/", name);
    return has_folder(inner) ? judge_floor(house, file, first_part(inner)) : "is for users only";
  }
  if (!is_quoted)
    return is_public(file) && name.find_first_of("/.") != std::string::npos
               ? "is no header of C++, while this one is public"
               : "";
  if (is_public(file)) return "is private, while this header is public";
  if (!is_user(file)) return judge_floor(house, file, first_part(name));
  const std::string module = first_part(name);  // the user's own unless of the library
  return module != "tools" && house.floors.contains(module) ? "is private to the library" : "";
}

std::vector<std::string> violations_of(const House& house, const File& file) {
  const bool needs_module = file.path.starts_with("src/") || !is_user(file);
  if (needs_module && !house.floors.contains(file.module))
    return {file.path + " is of no module in src/README.md"};
  std::vector<std::string> violations;
  for (const Include& include : file.includes)
    if (const std::string what = judge(house, file, include); !what.empty())
      violations.push_back(file.path + " includes " + include.name + ", which " + what);
  return violations;
}

// The umbrella header has every public header but those that ask for a package.
std::vector<std::string> umbrella_violations(const House& house, const std::vector<File>& files) {
  const std::string umbrella = "include/lockstep/lockstep.hpp";
  std::set<std::string> expected;
  std::set<std::string> found;
  for (const File& file : files) {
    const bool needs_package = std::ranges::any_of(file.includes, [&](const Include& include) {
      return house.residents.contains(first_part(include.name));
    });
    if (file.path == umbrella)
      for (const Include& include : file.includes) found.insert(include.name);
    else if (is_public(file) && !file.path.ends_with(".h") && !needs_package)
      expected.insert(without("include/", file.path.substr(0, file.path.rfind(".hpp") + 4)));
  }
  std::vector<std::string> violations;
  for (const std::string& name : expected)
    if (!found.contains(name)) violations.push_back(umbrella + " lacks " + name);
  for (const std::string& name : found)
    if (!expected.contains(name)) violations.push_back(umbrella + " should not have " + name);
  return violations;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: check_floors ROOT");
  const fs::path root = argv[1];
  const House house = read_house(root / "src/README.md");
  const std::vector<File> files = read_files(root);
  std::vector<std::string> violations = umbrella_violations(house, files);
  for (const File& file : files)
    std::ranges::copy(violations_of(house, file), std::back_inserter(violations));
  for (const std::string& violation : violations) std::cout << violation << '\n';
  std::cout << files.size() << " files, " << violations.size() << " violations\n";
  return files.empty() || !violations.empty() ? 1 : 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
