// What `lockstep train` is told.

#pragma once

#include <cstdint>
#include <string>

#include "lockstep/layers/batch_normalization_options.hpp"

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
  double momentum = 0.9;
  double bn_momentum = 0.9;
  std::string optimizer = "sgd";
  bool synchronized = true;
  std::string statistics = "exact";  ///< of batch normalization, or "fast"
  bool precise_statistics = false;   ///< at the end, in place of the moving ones
  std::string nonfinite = "error";   ///< or "skip" or "warn"
  std::uint64_t seed = 0;
  double stall_timeout =
      300.0;        ///< seconds that ranks wait for one that does not come; 0: for ever
  std::string out;  ///< run folder; empty: none
  bool json = false;
  bool quiet = false;
};

/// Makes `app` read the options.
void add_train_options(CLI::App& app, TrainOptions& options);

/// What batch normalization and training steps do with NaN and infinity.
[[nodiscard]] lockstep::Nonfinite nonfinite_of(const TrainOptions& options);

/// The options as resolved, with version and number of ranks, as pretty-printed JSON.
[[nodiscard]] std::string configuration_of(const TrainOptions& options, int num_ranks);
