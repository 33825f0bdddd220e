// The command lockstep, alone or under mpirun.

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "bench/bench.hpp"
#include "command_line.hpp"
#include "exit_code.hpp"
#include "failure_report.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/environment.hpp"
#include "lockstep/comm/watchdog.hpp"
#include "on_all_ranks.hpp"
#include "output.hpp"
#include "resumption.hpp"
#include "train.hpp"

namespace {

void say(const char* message) { std::fprintf(stderr, "lockstep: %s\n", message); }

int exit_code_of(lockstep::ErrorCode code) {
  switch (code) {
    case lockstep::ErrorCode::argument:
      return exit_usage;
    case lockstep::ErrorCode::non_finite:
      return exit_diverged;
    default:
      return exit_failure;
  }
}

int carry_out(const lockstep::Communicator&, int exit_code) { return exit_code; }

void set_stall_timeout(const lockstep::Communicator& world, double seconds) {
  lockstep::WatchdogOptions options;
  options.stall_timeout = std::chrono::duration<double>(seconds);
  lockstep::set_watchdog(world, options);
}

int carry_out(const lockstep::Communicator& world, const TrainOptions& options) {
  set_stall_timeout(world, options.stall_timeout);
  if (!options.dry_run) return train(world, options) ? exit_ok : exit_stopped;
  on_all_ranks(world, [&] {
    if (world.rank() == 0) write_result(configuration_of(options, world.size()));
  });
  return exit_ok;
}

int carry_out(const lockstep::Communicator& world, const BenchOptions& options) {
  set_stall_timeout(world, options.stall_timeout);
  return bench(world, options) ? exit_ok : exit_failure;
}

int carry_out(const lockstep::Communicator& world, const InspectOptions& options) {
  return inspect(world, options);
}

// Of a training that failed: where it can go on.
void advise(const Order& order, int num_ranks) {
  if (const auto* options = std::get_if<TrainOptions>(&order))
    show(stderr, advice_to_go_on(*options, num_ranks));
}

// Of the errors of a training that has a run folder.
std::filesystem::path error_folder_in(const Order& order) {
  const auto* training = std::get_if<TrainOptions>(&order);
  return training == nullptr ? std::filesystem::path() : error_folder_of(training->out);
}

// An error that not all ranks have agreed on passes through: then MPI must not be finalized, which
// would wait for ranks that wait for this one.
int run(int argc, char** argv) {
  const lockstep::Communicator world = lockstep::Communicator::world();
  const Order order = parse_command_line(world, argc, argv);
  try {
    return std::visit([&](const auto& content) { return carry_out(world, content); }, order);
  } catch (const UsageError& error) {
    if (world.rank() == 0) say(error.what());
    return exit_usage;
  } catch (const UnusableCheckpoint& error) {
    write_error_file(error_folder_in(order), world, lockstep::DataError(error.what()));
    if (world.rank() == 0) say(error.what());
    return exit_checkpoint;
  } catch (const lockstep::Error& error) {
    const std::filesystem::path folder = error_folder_in(order);
    write_error_file(folder, world, error);
    if (!error.is_agreed() && !world.is_solo()) throw;
    if (world.rank() == 0) {
      show(stderr, failure_block(world, error, folder));
      advise(order, world.size());
    }
    return exit_code_of(error.code());
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lockstep::Environment environment(argc, argv);
    lockstep::dump_collectives_on_signal();
    return run(argc, argv);
  } catch (const std::exception& error) {
    say(error.what());
    return exit_failure;
  }
}
