// Starts the command as a person would, and keeps what it said.

#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support/temporary_folder.hpp"

namespace lockstep::testing {

struct Run {
  std::string arguments;      ///< of lockstep, in the shell's syntax
  int num_ranks = 0;          ///< 0: alone, without mpirun
  std::string preamble = {};  ///< shell commands that every rank runs first; $rank is its number
  std::string around = {};    ///< of the shell, with {} for the command; empty: {}
};

struct Outcome {
  int exit_code = 0;
  std::string output;
  std::string error;
};

/// Runs the command in `folder`, without LOCKSTEP_ variables of the person who tests.
Outcome outcome_of(const Run& run, const std::filesystem::path& folder);

/// The same in a folder of its own.
Outcome outcome_of(const Run& run);

std::vector<std::string> lines_of(const std::string& text);

/// How often `part` occurs.
int num_occurrences(std::string_view text, std::string_view part);

/// JSON Lines, parsed. Throws when a line is no JSON.
std::vector<nlohmann::json> records_in(const std::string& json_lines);

/// The records of a run with --json, which must succeed.
std::vector<nlohmann::json> records_of(const std::string& arguments, int num_ranks = 0);

/// A number in the last one of these records.
double last(const std::string& field, const std::string& arguments, int num_ranks = 0);

/// Requires that the run ends with exit code 2 and nothing but `message`, said once, alone and on
/// two ranks.
void require_refusal(const std::string& arguments, const std::string& message,
                     const std::string& preamble = {});

/// Options of a run that takes a fraction of a second.
inline const std::string small = "train --data synthetic:blobs --model mlp --epochs 1 ";

}  // namespace lockstep::testing
