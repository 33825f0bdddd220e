// Trainings that are saved and resumed in tests.

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "lockstep/model/sequential.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"

namespace lockstep::testing {

/// 43 images of [6, 6, 2] in 4 classes: batches of 10 leave a rest.
[[nodiscard]] const Dataset& few_images();

/// What a test varies.
struct TrainingOptions {
  bool synchronized = true;
  int group_size = 0;  ///< ranks that share statistics; 0: all
  bool renorm = true;
  bool uses_adam = false;
  DType dtype = DType::float32;
  bool zero_debias = false;
  double learning_rate = 0.05;
  std::uint64_t seed = 5;  ///< of dropout
};

/// A convolutional network with batch normalization that is built, and its trainer: momentum,
/// batch weights, a learning rate that drops every 3 steps, dropout, a regularizer.
struct Training {
  explicit Training(const TrainingOptions& options = {});

  Sequential model;
  std::unique_ptr<Trainer> trainer;

  /// Trains up to `num_steps` steps in all, validating after epochs.
  History run(std::int64_t num_steps, std::vector<std::shared_ptr<Callback>> callbacks = {});

  /// The bits of all variables and of the optimizer, of this rank.
  [[nodiscard]] std::vector<std::byte> bits();
};

}  // namespace lockstep::testing
