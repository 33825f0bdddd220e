// Reads the table of pairs of options in src/README.md.

#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "layers/option_cases.hpp"

namespace lockstep::testing {
namespace {

struct OptionTable {
  std::vector<std::string> names;
  std::vector<std::string> cells;        // row by row, up to the diagonal
  std::map<char, std::string> messages;  // by letter
};

// "     7 adjust per rank      ..==.\": number, name, cells.
void add_row(const std::string& line, OptionTable& table) {
  const std::size_t number = line.find_first_not_of(' ');
  const std::size_t name = line.find(' ', number) + 1;
  const std::size_t cells = line.find_last_of(' ') + 1;
  table.names.push_back(line.substr(name, line.find_last_not_of(' ', cells - 1) + 1 - name));
  table.cells.push_back(line.substr(cells));
}

OptionTable read_table() {
  OptionTable table;
  bool is_here = false;
  std::ifstream stream(LOCKSTEP_HOUSE_README);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("## ")) is_here = line == "## Options of batch normalization in pairs";
    if (!is_here) continue;
    if (line.starts_with("    ") && line.ends_with('\\')) add_row(line, table);
    if (line.starts_with("- `")) table.messages[line.at(3)] = line.substr(6);
  }
  if (table.names.empty()) throw std::runtime_error("src/README.md has no table of options");
  return table;
}

const OptionTable& table() {
  static const OptionTable all = read_table();
  return all;
}

std::size_t row_of(const Feature& feature) {
  for (std::size_t row = 0; row < table().names.size(); ++row)
    if (table().names[row] == feature.name) return row;
  throw std::out_of_range("the table of options has no '" + feature.name + "'");
}

}  // namespace

PairRule rule_of(const Feature& a, const Feature& b) {
  const std::size_t row = std::max(row_of(a), row_of(b)), column = std::min(row_of(a), row_of(b));
  const char cell = table().cells[row].at(column);
  if (cell == '.') return {};
  if (cell == '=' || cell == '\\') return {.is_one_option = true, .refusal = std::nullopt};
  return {.is_one_option = false, .refusal = table().messages.at(cell)};
}

const std::vector<std::string>& names_in_table() { return table().names; }

std::vector<std::string> messages_in_table() {
  std::vector<std::string> all;
  for (const auto& [letter, message] : table().messages) all.push_back(message);
  return all;
}

}  // namespace lockstep::testing
