// An environment within a running MPI adopts it; the program beside this file tests the owner.

#include "lockstep/comm/environment.hpp"

#include <mpi.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "support/mpi.hpp"

namespace lockstep {
namespace {

bool is_running() {
  int is_initialized = 0;
  int is_finalized = 0;
  MPI_Initialized(&is_initialized);
  MPI_Finalized(&is_finalized);
  return is_initialized != 0 && is_finalized == 0;
}

TEST_CASE("environment: an MPI that is up is adopted and left running") {
  {
    const Environment environment;
    CHECK_FALSE(environment.owns_mpi());
    const Environment another;
    CHECK_FALSE(another.owns_mpi());
  }
  CHECK(is_running());
  REQUIRE_ON_ALL_RANKS(Communicator::world(), true);
}

TEST_CASE("environment: an exception that leaves an adopting one leaves MPI running too") {
  try {
    const Environment environment;
    throw std::runtime_error("leaving");
  } catch (const std::runtime_error&) {
  }
  REQUIRE_ON_ALL_RANKS(Communicator::world(), is_running());
}

TEST_CASE("environment: it stays where it was made") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Environment>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<Environment>);
}

}  // namespace
}  // namespace lockstep
