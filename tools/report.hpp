// What a run says: to a terminal, to a log, as JSON Lines, and into its folder.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/train/trainer.hpp"
#include "run_folder.hpp"
#include "stopwatch.hpp"
#include "train_options.hpp"

/// Speaks for all ranks, so one of them has it. Results go to standard output, everything else to
/// standard error, except for the progress line of a terminal, which stands where the results will.
class Report final : public lockstep::Callback {
 public:
  /// Says the header. `hosts` are those of all ranks; a run that goes on does so after `first_step`
  /// steps and `num_epochs` epochs, which are 0 otherwise. Throws DataError when the run folder
  /// cannot be made.
  Report(const TrainOptions& options, const std::vector<std::string>& hosts,
         std::int64_t num_training_samples, std::int64_t first_step, std::int64_t num_epochs);

  /// Erases the progress line.
  ~Report() override;

  /// Shows progress. Local.
  void on_step_end(lockstep::Trainer& trainer, const lockstep::StepRecord& record) override;

  /// Writes the results. Throws DataError when that fails. Local.
  void on_epoch_end(lockstep::Trainer& trainer, const lockstep::EpochRecord& record) override;

  /// Writes the validation scores with precise statistics, after the last epoch. Throws DataError
  /// when that fails. Local.
  void write_precise(const lockstep::Scores& validation);

  /// The last words: that a run ended early, where the curves are.
  void finish(std::int64_t num_steps, bool is_stopped) const;

 private:
  [[nodiscard]] std::string progress_of(const lockstep::StepRecord& record) const;

  TrainOptions options_;
  std::optional<RunFolder> folder_;
  bool has_progress_line_;              // on a terminal
  std::int64_t num_steps_;              // of the whole run
  std::int64_t first_step_;             // of this part of it
  std::int64_t num_samples_ = 0;        // so far
  std::int64_t num_epoch_samples_ = 0;  // of this epoch, but those before the run went on
  Stopwatch since_start_;
  Stopwatch since_epoch_;
  Stopwatch since_progress_;
};
