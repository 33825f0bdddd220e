// A training in one file, from which it goes on with the same bits.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/io/weights.hpp"
#include "lockstep/train/trainer.hpp"

namespace lockstep {

struct CheckpointOptions {
  WeightNames names = WeightNames::pytorch;
  /// Of the model as it is saved; the smallest one is the best.
  std::optional<double> validation_loss = std::nullopt;
  /// Kept in the file for people, such as the options of a program.
  std::string note = {};
};

/// Writes Trainer::state() to a safetensors file. Its weights are named and laid out as those of
/// save_weights(), which load_weights() and other systems can read; "state:norm/shift" are further
/// variables of the model, and the other entries have the names of a TrainingState. The file is
/// replaced only by one that was written, read back and verified. Rank 0 writes. Throws DataError
/// on all ranks when that fails, and what state() throws. Equal states give equal files.
/// Collective.
LOCKSTEP_EXPORT void save_checkpoint(Trainer& trainer, const std::filesystem::path& path,
                                     const CheckpointOptions& options = {});

/// Restores the state of a file of save_checkpoint(), on any number of ranks; with as many as
/// before, later steps give the bits of a training that was not interrupted. Rank 0 reads. Throws
/// DataError on all ranks, with nothing changed, for a file that cannot be read, is damaged or no
/// checkpoint of lockstep's, and what Trainer::restore() throws. Collective.
LOCKSTEP_EXPORT void load_checkpoint(Trainer& trainer, const std::filesystem::path& path);

/// Throws DataError unless the file is a checkpoint of lockstep's and each of its bytes is as it
/// was written. Local.
LOCKSTEP_EXPORT void verify_checkpoint(const std::filesystem::path& path);

}  // namespace lockstep
