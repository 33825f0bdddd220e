// A program that leaves MPI to lockstep: it is compiled and linked without MPI.

#include <lockstep/lockstep.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>

namespace ls = lockstep;

int main(int argc, char** argv) try {
  const ls::Environment mpi(argc, argv);
  const ls::Communicator world = ls::Communicator::world();

  std::array<std::int64_t, 1> highest{world.rank()};
  ls::allreduce(world, highest, ls::Reduction::maximum);
  if (world.rank() == 0)
    std::printf("lockstep %s on %d ranks, the last of which is rank %d\n", LOCKSTEP_VERSION,
                world.size(), static_cast<int>(highest[0]));
  return highest[0] == world.size() - 1 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
