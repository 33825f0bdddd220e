// What the command is told to do.

#pragma once

#include <variant>

#include "bench/bench_options.hpp"
#include "inspect.hpp"
#include "lockstep/comm/communicator.hpp"
#include "train_options.hpp"

/// The options of a subcommand, or the exit code to end with.
using Order = std::variant<int, TrainOptions, BenchOptions, InspectOptions>;

/// Reads command line, environment and configuration file on rank 0, which says what is wrong with
/// them, and gives every rank the result. Collective.
[[nodiscard]] Order parse_command_line(const lockstep::Communicator& world, int argc, char** argv);
