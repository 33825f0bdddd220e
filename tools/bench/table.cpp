#include "bench/table.hpp"

#include <spdlog/fmt/fmt.h>

#include <fstream>

#include "bench/floor.hpp"
#include "bench/onednn_candidates.hpp"
#include "bench/row_text.hpp"
#include "bench/worst.hpp"
#include "hosts.hpp"
#include "output.hpp"

namespace {

std::string cpu_model() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

// "32x64x56x56 nhwc float32 forward".
std::string place_of(const Row& row) {
  std::string place;
  for (const std::string& part : {row.shape, row.layout, row.dtype})
    if (part != "-") place += part + " ";
  return place + row.what;
}

}  // namespace

Table::Table(const BenchOptions& options, const std::vector<std::string>& hosts,
             std::int64_t rounds)
    : options_(options) {
  comment(job_line(hosts));
  comment(fmt::format("CPU: {}; floor measured with {}", cpu_model(), floor_instruction_set()));
  comment(
      fmt::format("medians of {} rounds; spread: between the quartiles, over the median", rounds));
  comment("us: of one call, on the slowest rank; shape: N, C, H, W of each rank's batch");
  comment("ratio: median over the rounds of us / us of what it is measured against");
  comment("floor: two plain passes over the same memory (read x; read x, write y), backward");
  comment(
      "       (read x, dy; read x, dy, write dx), inference one (read x, write y), with regular");
  comment("       or non-temporal stores, whichever is faster here");
  comment(
      "plain + traffic: the pass without relu and residual, plus a gate bit per element at the");
  comment(
      "       floor's speed, plus what the floor loses by reading the residual (forward) and by");
  comment("       writing its gradient (backward); both measured here");
  if (!options_.sweep && options_.dtype == "float32")
    comment(has_onednn() ? "onednn: its own batch normalization, one thread; blocked: on nChw16c"
                         : "onednn: no rows, built with LOCKSTEP_ONEDNN=OFF");
  comment("#wrong: elements of y, dx, dgamma, dbeta and moving statistics, on all ranks, that are");
  comment("       not what plain loops in double give");
  if (options_.csv)
    write_result(csv_heads());
  else if (!options_.json)
    write_result(table_heads());
}

void Table::add(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    write_result(options_.csv ? csv_line(row) : options_.json ? json_line(row) : table_line(row));
    rows_.push_back(row);
  }
}

void Table::finish() const {
  int num_targets = 0, num_met = 0;
  std::int64_t num_wrong = 0;
  for (const Row& row : rows_) {
    num_wrong += row.num_wrong.value_or(0);
    if (const auto met = is_met(row)) {
      ++num_targets;
      num_met += *met ? 1 : 0;
    }
  }
  for (const std::string& line : worst_ratios(rows_)) comment("worst " + line);
  comment(fmt::format("targets: {} of {} met", num_met, num_targets));
  for (const Row& row : rows_)
    if (is_met(row) == false)
      comment(row.target->of == Target::Of::ratio
                  ? fmt::format("missed: {}: {:.3f}x, target {}", place_of(row), *row.ratio,
                                text_of(*row.target))
                  : fmt::format("missed: {}: {:.2f}us, target {}", place_of(row), row.microseconds,
                                text_of(*row.target)));
  for (const Row& row : rows_)
    if (row.num_wrong.value_or(0) > 0)
      comment(fmt::format("wrong: {}: {} elements", place_of(row), *row.num_wrong));
  comment(fmt::format("wrong: {}", num_wrong));
}

void Table::comment(const std::string& text) const {
  if (options_.quiet) return;
  if (options_.csv || options_.json)
    show(stderr, "# " + text + "\n");
  else
    write_result("# " + text + "\n");
}
