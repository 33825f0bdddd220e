// What a run leaves behind besides checkpoints: config.json, metrics.jsonl and curves.svg.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep/io/json_lines.hpp"
#include "lockstep/train/history.hpp"
#include "stopwatch.hpp"

class RunFolder {
 public:
  /// Makes the folder where it is missing, and replaces the files of an earlier run. One that goes
  /// on after `num_epochs` keeps the metrics of these. Throws DataError when that fails.
  RunFolder(std::filesystem::path folder, const std::string& configuration,
            std::int64_t num_epochs);

  /// Adds a line to the metrics and a point to the curves, which are drawn after the last epoch,
  /// and every ten seconds before it. Throws DataError when that fails.
  void add(const lockstep::Record& metrics, const lockstep::EpochRecord& epoch, bool is_last);

  /// Adds a line to the metrics that is no epoch's. Throws DataError when that fails.
  void add(const lockstep::Record& metrics) { metrics_.write(metrics); }

  /// Where the curves are.
  [[nodiscard]] std::filesystem::path curves() const { return folder_ / "curves.svg"; }

 private:
  void draw();

  std::filesystem::path folder_;
  std::vector<lockstep::EpochRecord> epochs_;
  lockstep::JsonLinesWriter metrics_;
  Stopwatch since_drawing_;
};
