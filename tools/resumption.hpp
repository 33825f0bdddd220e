// Where `lockstep train` goes on, and how a person is told to make it go on.

#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "lockstep/train/trainer.hpp"
#include "train_options.hpp"

/// A checkpoint that cannot be used: thrown on all ranks alike.
class UnusableCheckpoint : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Of a run folder.
[[nodiscard]] std::filesystem::path checkpoint_folder_of(const TrainOptions& options);

/// Does what --resume says: restores the newest checkpoint of the run folder that is whole, or that
/// of a file, and tells which. Without it, and where there are none yet, training begins. Throws
/// UsageError for a run folder that has checkpoints which would be lost, UnusableCheckpoint.
/// Collective.
void resume_as_told(lockstep::Trainer& trainer, const TrainOptions& options);

/// The newest checkpoint of a run that failed or was stopped, and the line that goes on from it;
/// empty without one. Local.
[[nodiscard]] std::string advice_to_go_on(const TrainOptions& options, int num_ranks);
