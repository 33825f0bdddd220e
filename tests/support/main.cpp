// Runs the tests of all modules, on one rank or under mpirun.

#define CATCH_CONFIG_RUNNER
#include <algorithm>
#include <array>
#include <iostream>
#include <sstream>

#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/environment.hpp"
#include "support/catch.hpp"

int main(int argc, char** argv) {
  lockstep::Environment environment(argc, argv);
  const lockstep::Communicator world = lockstep::Communicator::world();

  // Only rank 0 speaks; the others do when something failed there.
  std::ostringstream quiet;
  std::streambuf* const terminal = std::cout.rdbuf();
  if (world.rank() != 0) std::cout.rdbuf(quiet.rdbuf());
  const int failed = Catch::Session().run(argc, argv);
  std::cout.rdbuf(terminal);
  if (world.rank() != 0 && failed != 0)
    std::cout << "rank " << world.rank() << ":\n" << quiet.str() << std::flush;

  std::array<std::int64_t, 1> worst{std::min(failed, 125)};
  lockstep::allreduce(world, worst, lockstep::Reduction::maximum);
  return static_cast<int>(worst[0]);
}
