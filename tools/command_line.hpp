// What the command is told to do.

#pragma once

#include <variant>

#include "bench/bench_options.hpp"
#include "lockstep/comm/communicator.hpp"
#include "train_options.hpp"

/// The options of a subcommand, or the exit code to end with.
using Order = std::variant<int, TrainOptions, BenchOptions>;

/// Reads command line and environment on rank 0, which says what is wrong with them, and gives
/// every rank the result. Collective.
[[nodiscard]] Order parse_command_line(const lockstep::Communicator& world, int argc, char** argv);
