#include "suggestion.hpp"

#include <algorithm>
#include <numeric>

namespace {

// Letters to insert, remove or replace (Levenshtein's distance).
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string suggestion_for(const std::string& name, const std::vector<std::string>& known) {
  const auto closest = std::ranges::min_element(
      known, {}, [&](const std::string& other) { return distance(name, other); });
  const std::size_t tolerance = std::max<std::size_t>(name.size() / 3, 1);
  if (closest == known.end() || distance(name, *closest) > tolerance) return "";
  return "; did you mean '" + *closest + "'?";
}
