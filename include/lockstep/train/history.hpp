// What a training run reports.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep {

/// Loss and metrics over a set of samples on all ranks; equal on all ranks.
struct Scores {
  std::int64_t num_samples = 0;
  double loss = 0.0;            ///< mean over the samples, plus the penalties of regularizers
  std::vector<double> metrics;  ///< in the order of the trainer's metrics
};

struct StepRecord {
  std::int64_t step = 0;  ///< since the trainer was made, the first is 0
  Scores training;        ///< of the step's global batch
  /// The scale of the step's gradients; empty without loss scaling.
  std::optional<double> loss_scale;
  /// The step changed nothing: scaled gradients were not finite, so that the next ones have another
  /// scale, or what Nonfinite::skip_update skips came up.
  bool is_skipped = false;
  /// A rank asked before the end of this step for the run's end; equal on all ranks.
  bool is_stopping = false;
};

struct EpochRecord {
  std::int64_t epoch = 0;
  std::int64_t num_steps = 0;    ///< since the trainer was made
  std::int64_t num_skipped = 0;  ///< of the epoch's steps
  /// Of all batches, as the model was when it saw them; without those that Nonfinite::skip_update
  /// has skipped.
  Scores training;
  /// False: max_steps or a stop came before the last batch.
  bool is_whole = true;
  /// Of the model after the epoch; empty where a stop came within it.
  std::optional<Scores> validation;
  double seconds = 0.0;  ///< on this rank, validation included
};

struct History {
  std::vector<std::string> metric_names;
  std::vector<EpochRecord> epochs;
  /// Ended before epochs and max_steps said so, since a rank asked for it.
  bool is_stopped = false;
};

}  // namespace lockstep
