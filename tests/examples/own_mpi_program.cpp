// A program with an MPI job of its own lends its communicator to lockstep.

#include <lockstep/comm/collectives.hpp>
#include <lockstep/comm/mpi.hpp>

#include <array>
#include <cstdio>
#include <exception>

namespace {

int run() {
  // A duplicate: lockstep's messages never meet the program's own.
  const lockstep::Communicator group = lockstep::duplicate(MPI_COMM_WORLD);
  std::array<double, 1> sum{group.rank() + 1.0};
  lockstep::allreduce(group, sum, lockstep::Reduction::sum);

  const double expected = group.size() * (group.size() + 1) / 2.0;
  if (group.rank() == 0)
    std::printf("%d ranks: the sum of their numbers is %g, expected %g\n", group.size(), sum[0],
                expected);
  return sum[0] == expected ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int status = 1;
  try {
    status = run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return status;
}
