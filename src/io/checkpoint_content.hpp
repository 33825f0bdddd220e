// The state of a training as the content of a file, and back.

#pragma once

#include <functional>
#include <string>

#include "lockstep/io/checkpoint.hpp"
#include "lockstep/io/safetensors.hpp"

namespace lockstep {

inline constexpr const char* validation_loss_key = "lockstep.validation_loss";

/// True for the names of entries that only a training can use, and no other system.
[[nodiscard]] bool is_of_training(const std::string& name);

/// Throws DataError unless the content is that of a checkpoint.
void require_checkpoint(const std::optional<std::string>& kind, const std::string& what);

/// Takes the state of the training and calls `write` with the content on rank 0. What that throws
/// is thrown on all ranks. Collective.
void save_content(Trainer& trainer, const CheckpointOptions& options,
                  const std::function<void(const TensorFile&)>& write);

}  // namespace lockstep
