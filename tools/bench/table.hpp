// What a benchmark says, for people, spreadsheets and programs.

#pragma once

#include <string>
#include <vector>

#include "bench/bench_options.hpp"
#include "bench/row.hpp"

/// Speaks for all ranks, so one of them has it. Measures go to standard output; so do comments
/// about them, with a '#' in front, in a table for people. With --csv and --json they go to
/// standard error, as the progress of a sweep would.
class Table {
 public:
  /// Says what is measured, and where. `hosts` are those of all ranks. Throws DataError when
  /// standard output cannot be written; so do the others.
  Table(const BenchOptions& options, const std::vector<std::string>& hosts, std::int64_t rounds);

  void add(const std::vector<Row>& rows);

  /// The last word: what was missed, what was wrong, and the worst ratios to the floor.
  void finish() const;

 private:
  void comment(const std::string& text) const;

  BenchOptions options_;
  std::vector<Row> rows_;
};
