// An environment within a running MPI adopts it; the program beside this file tests the owner.

#include "lockstep/comm/environment.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
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

TEST_CASE("environment: MPI says in one line what it is") {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version = mpi_version();
  CHECK(version.size() > 3);
  CHECK(std::ranges::any_of(version, [](char c) { return c >= '0' && c <= '9'; }));
  CHECK(std::ranges::none_of(version, [](char c) { return c == '\n' || c == '\t' || c == ','; }));
  CHECK(std::string_view(text.data()).starts_with(version.substr(0, version.find(' '))));
}

TEST_CASE("environment: it stays where it was made") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Environment>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<Environment>);
}

}  // namespace
}  // namespace lockstep
