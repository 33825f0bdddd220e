#include "bench/worst.hpp"

#include <spdlog/fmt/fmt.h>

#include <map>

namespace {

constexpr double long_call = 100.0;  // microseconds

struct Worst {
  const Row* of_all = nullptr;
  const Row* of_long_calls = nullptr;
};

void update(const Row*& worst, const Row& row) {
  if (worst == nullptr || *row.ratio > *worst->ratio) worst = &row;
}

std::string text_of(const Worst& worst) {
  const auto& [of_all, of_long_calls] = worst;
  std::string text = fmt::format("{:.2f} times the floor, at {}", *of_all->ratio, of_all->shape);
  if (of_long_calls != nullptr && of_long_calls != of_all)
    text += fmt::format("; from {:.0f} us on {:.2f}, at {}", long_call, *of_long_calls->ratio,
                        of_long_calls->shape);
  return text;
}

}  // namespace

std::vector<std::string> worst_ratios(const std::vector<Row>& rows) {
  std::map<std::string, Worst> worst;  // by pass and layout
  for (const Row& row : rows) {
    if (!row.against.starts_with("floor")) continue;
    Worst& place = worst[row.what + " " + row.layout];
    update(place.of_all, row);
    if (row.microseconds >= long_call) update(place.of_long_calls, row);
  }
  std::vector<std::string> lines;
  for (const auto& [name, place] : worst) lines.push_back(name + ": " + text_of(place));
  return lines;
}
