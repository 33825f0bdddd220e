// Files that one rank reads and all ranks have.

#pragma once

#include <filesystem>

#include "comm/failure.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/io/safetensors.hpp"

namespace lockstep {

/// The content of a file that rank 0 reads. What read_safetensors() throws there is thrown on all
/// ranks. Collective.
[[nodiscard]] TensorFile read_shared_safetensors(const Communicator& group, const Meeting& meeting,
                                                 const std::filesystem::path& path);

}  // namespace lockstep
