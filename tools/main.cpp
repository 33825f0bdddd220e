// The command lockstep, alone or under mpirun.

#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <exception>

#include "exit_code.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/environment.hpp"
#include "on_all_ranks.hpp"
#include "train.hpp"

namespace {

void say(const lockstep::Communicator& world, const char* message) {
  if (world.rank() == 0) fmt::print(stderr, "lockstep: {}\n", message);
}

// An error that not all ranks have agreed on passes through: then MPI must not be finalized, which
// would wait for ranks that wait for this one.
int run(int argc, char** argv) {
  const lockstep::Communicator world = lockstep::Communicator::world();
  const auto parsed = parse_command_line(world, argc, argv);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  try {
    return train(std::get<TrainOptions>(parsed));
  } catch (const UsageError& error) {
    say(world, error.what());
    return exit_usage;
  } catch (const lockstep::Error& error) {
    if (!error.is_agreed()) throw;
    say(world, error.what());
    return error.code() == lockstep::ErrorCode::argument ? exit_usage : exit_failure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lockstep::Environment environment(argc, argv);
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "lockstep: {}\n", error.what());
    return exit_failure;
  }
}
