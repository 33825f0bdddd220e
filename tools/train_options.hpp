// What `lockstep train` is told.

#pragma once

#include <cstdint>
#include <string>

#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/train/learning_rate.hpp"

namespace CLI {
class App;
}

/// Options of `lockstep train` with their defaults.
struct TrainOptions {
  std::string data = "synthetic:images";
  std::string model = "cnn";
  std::string dtype = "float32";  ///< of what passes between layers
  std::int64_t batch = 64;
  std::int64_t epochs = 5;
  std::int64_t steps = 0;  ///< at most so many; 0: no limit
  double learning_rate = 0.01;
  std::string schedule = "constant";  ///< or "step:FACTOR:STEPS", "epoch:FACTOR:EPOCHS"
  double momentum = 0.9;
  double bn_momentum = 0.9;
  std::string optimizer = "sgd";
  bool synchronized = true;
  std::string statistics = "exact";  ///< of batch normalization, or "fast"
  bool precise_statistics = false;   ///< at the end, in place of the moving ones
  std::string nonfinite = "error";   ///< or "skip" or "warn"
  std::int64_t drift_check = 0;      ///< compare replicas every so many steps; 0: never
  std::uint64_t seed = 0;
  double stall_timeout =
      300.0;                    ///< seconds that ranks wait for one that does not come; 0: for ever
  std::string out;              ///< run folder; empty: none
  std::int64_t save_every = 0;  ///< steps between checkpoints; 0: after every epoch
  int keep = 3;                 ///< newest checkpoints that stay
  std::string save_failure = "stop";  ///< or "warn"
  std::string resume;                 ///< a checkpoint, or resume_newest; empty: a new run
  std::string config;                 ///< file with options; empty: none
  bool dry_run = false;
  bool json = false;
  bool quiet = false;
};

/// --resume without a file: from the newest checkpoint of the run folder.
inline constexpr const char* resume_newest = "newest";

/// The schedule, for epochs of so many steps.
[[nodiscard]] lockstep::LearningRate learning_rate_of(const TrainOptions& options,
                                                      std::int64_t steps_per_epoch);

/// Makes `app` read the options.
void add_train_options(CLI::App& app, TrainOptions& options);

/// What batch normalization and training steps do with NaN and infinity.
[[nodiscard]] lockstep::Nonfinite nonfinite_of(const TrainOptions& options);

/// The options as resolved, but those of one start alone, with version and number of ranks, as
/// pretty-printed JSON.
[[nodiscard]] std::string configuration_of(const TrainOptions& options, int num_ranks);
