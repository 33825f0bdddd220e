// Where a training is, in numbers.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lockstep/train/learning_rate.hpp"
#include "lockstep/train/sampler.hpp"
#include "lockstep/train/training_state.hpp"
#include "train/misfits.hpp"

namespace lockstep {

/// Which batch comes next.
struct Position {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;    ///< within the epoch
  SamplerOptions order;      ///< of which batch > 0 is one
  std::vector<double> sums;  ///< of loss and metrics over the epoch's batches so far
};

/// What a LossScale remembers.
struct ScaleProgress {
  double scale = 1.0;
  std::int64_t num_good_steps = 0;  ///< since the scale changed
};

/// All numbers of a training but those of its variables.
struct Progress {
  std::int64_t num_steps = 0;
  Position position;
  std::uint64_t seed = 0;  ///< of random numbers within steps
  LearningRate learning_rate = 0.0;
  std::optional<ScaleProgress> loss_scale = std::nullopt;  ///< empty without loss scaling
};

/// Adds the entries that hold the progress.
void write_progress(const Progress& progress, TrainingState& state);

/// The progress that a state holds. Tensors that do not fit are `misfits`; then the result is of no
/// use. Throws DataError for numbers that no training has.
[[nodiscard]] Progress read_progress(const TrainingState& state, bool has_loss_scale,
                                     Misfits& misfits);

}  // namespace lockstep
