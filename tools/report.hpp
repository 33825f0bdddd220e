// What a run says: to a terminal, to a log, as JSON Lines, and into its folder.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "lockstep/io/json_lines.hpp"
#include "lockstep/train/trainer.hpp"
#include "train_options.hpp"

/// Speaks on rank 0 only. Results go to standard output, everything else to standard error.
class Report final : public lockstep::Callback {
 public:
  /// Makes the run folder. Throws DataError when that fails.
  Report(const TrainOptions& options, const lockstep::Strategy& strategy,
         std::int64_t num_training_samples);

  void on_step_end(lockstep::Trainer& trainer, const lockstep::StepRecord& record) override;
  void on_epoch_end(lockstep::Trainer& trainer, const lockstep::EpochRecord& record) override;

  /// The last word: where the curves are.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  void say_header(const lockstep::Strategy& strategy) const;
  void show_progress(const lockstep::StepRecord& record);
  void clear_progress();

  TrainOptions options_;
  bool is_speaking_;
  bool is_terminal_;
  std::int64_t num_steps_in_all_;
  std::optional<lockstep::JsonLinesWriter> metrics_;
  std::vector<lockstep::EpochRecord> epochs_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_progress_ = start_;
};
