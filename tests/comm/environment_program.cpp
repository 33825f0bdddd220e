// Life and end of an environment that owns MPI, which a program can have only once. The exit code
// is the number of expectations that failed.

#include <mpi.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/environment.hpp"

namespace lockstep {
namespace {

int num_failed = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  ++num_failed;
  std::fprintf(stderr, "expected: %s\n", what);
}

bool is_finalized() {
  int flag = 0;
  MPI_Finalized(&flag);
  return flag != 0;
}

template <class Body>
bool throws_state_error(Body&& body) {
  try {
    body();
  } catch (const StateError&) {
    return true;
  }
  return false;
}

std::int64_t sum_over(const Communicator& group) {
  std::array<std::int64_t, 1> ones{1};
  allreduce(group, ones, Reduction::sum);
  return ones[0];
}

void own_mpi(int argc, char** argv) {
  expect(sum_over(Communicator()) == 1, "a solo communicator works without MPI");
  expect(throws_state_error([] { (void)Communicator::world(); }), "no world without MPI");

  Communicator survivor;
  {
    const Environment environment(argc, argv);
    expect(environment.owns_mpi(), "the environment started MPI");
    expect(!Environment().owns_mpi(), "a second environment adopts MPI");
    expect(!is_finalized(), "the second environment leaves MPI running");
    survivor = Communicator::world();
    expect(sum_over(survivor) == survivor.size(), "messages pass");
  }
  expect(is_finalized(), "the owner ends MPI");
  expect(throws_state_error([&] { (void)survivor.dup(); }), "no duplicate after the end");
  expect(throws_state_error([&] { (void)sum_over(survivor); }) != survivor.is_solo(),
         "no message after the end, unless it needs none");
  expect(throws_state_error([] { const Environment again; }), "MPI does not start twice");
}

void leave_by_exception() {
  try {
    const Environment environment;
    throw std::runtime_error("leaving");
  } catch (const std::runtime_error&) {
  }
  expect(!is_finalized(), "an exception does not end MPI");
  expect(sum_over(Communicator::world()) > 0, "messages still pass");
  MPI_Finalize();
}

// MPI is the user's, who ends it while the library still holds communicators.
void adopt_mpi(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  Communicator survivor;
  {
    const Environment environment(argc, argv);
    expect(!environment.owns_mpi(), "the environment adopts MPI");
    survivor = Communicator::world();
    std::int64_t sum = 0;
    std::thread([&] { sum = sum_over(survivor); }).join();
    expect(provided < MPI_THREAD_SERIALIZED || sum == survivor.size(),
           "another thread may send where MPI allows it");
    MPI_Finalize();
    expect(throws_state_error([] { (void)Communicator::world(); }), "no world after the end");
    expect(throws_state_error([&] { (void)sum_over(survivor); }) != survivor.is_solo(),
           "no message after the end");
  }
  expect(throws_state_error([] { const Environment again; }), "MPI does not start twice");
}

}  // namespace
}  // namespace lockstep

int main(int argc, char** argv) {
  const std::string_view how = argc > 1 ? argv[1] : "owner";
  if (how == "exception")
    lockstep::leave_by_exception();
  else if (how == "adopted")
    lockstep::adopt_mpi(argc, argv);
  else
    lockstep::own_mpi(argc, argv);
  return lockstep::num_failed;
}
