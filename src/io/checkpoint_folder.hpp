// The files in a folder of checkpoints: their names, which ones stay, and what is left over.

#pragma once

#include <cstdint>
#include <filesystem>

namespace lockstep {

/// "folder/step_00001200.safetensors".
[[nodiscard]] std::filesystem::path path_of_checkpoint(const std::filesystem::path& folder,
                                                       std::int64_t num_steps);

/// Makes the folder where it is missing. Throws DataError.
void make_folder(const std::filesystem::path& folder);

/// Removes temporary files of saves that died. Throws DataError.
void remove_temporaries(const std::filesystem::path& folder);

/// Makes the link "latest" show the checkpoint of so many steps. Throws DataError.
void set_latest(const std::filesystem::path& folder, std::int64_t num_steps);

/// Once the checkpoint of so many steps is there: removes older ones but the newest `keep` and,
/// with `keep_best`, that of the smallest validation loss; sets later ones aside. Throws DataError.
void clear_up(const std::filesystem::path& folder, std::int64_t num_steps, int keep,
              bool keep_best);

}  // namespace lockstep
