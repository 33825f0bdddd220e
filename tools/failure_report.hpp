// What a run that fails leaves behind: a block on standard error, and a file of each rank.

#pragma once

#include <filesystem>
#include <string>

#include "lockstep/base/error.hpp"
#include "lockstep/comm/communicator.hpp"

/// Where the ranks of a run keep their error files; empty without a run folder.
[[nodiscard]] std::filesystem::path error_folder_of(const std::string& run_folder);

/// Writes what this rank knows of its failure to `rank_0000.json` in this folder, which it makes.
/// What cannot be written is lost. Local.
void write_error_file(const std::filesystem::path& folder, const lockstep::Communicator& world,
                      const lockstep::Error& error) noexcept;

/// Removes such files, and the folder if nothing else is in it. Local.
void remove_error_files(const std::filesystem::path& folder) noexcept;

/// The root cause of an error of all ranks, with rank, host, layer and step where there are any,
/// and what the others did, in lines. `folder` is that of the error files.
[[nodiscard]] std::string failure_block(const lockstep::Communicator& world,
                                        const lockstep::Error& error,
                                        const std::filesystem::path& folder);
