// Assertions and cuts for tests that run on several ranks.

#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/communicator.hpp"
#include "support/catch.hpp"

namespace lockstep::testing {

/// True when `condition` holds on every rank. Collective.
inline bool all_ranks(const Communicator& group, bool condition) {
  std::array<std::int64_t, 1> num_false{condition ? 0 : 1};
  allreduce(group, num_false, Reduction::sum);
  return num_false[0] == 0;
}

/// True when `bytes` are the same on all ranks. Collective.
[[nodiscard]] inline bool is_same_on_all_ranks(const Communicator& group,
                                               std::span<const std::byte> bytes) {
  const auto all = allgather_varying(group, bytes);
  return std::ranges::all_of(all,
                             [&](const auto& other) { return std::ranges::equal(other, bytes); });
}

/// All ways of cutting `total` samples over `num_ranks` ranks that tests use: even, everything on
/// one rank, growing, a rank left out. Each is a list of sizes.
std::vector<std::vector<std::int64_t>> cuts_of(std::int64_t total, int num_ranks);

/// Sum of the sizes before `rank`.
std::int64_t first_of(const std::vector<std::int64_t>& cut, int rank);

/// MPI_Allreduce and MPI_Iallreduce calls of this process so far, all communicators, counted
/// below the library by MPI's profiling interface.
std::int64_t num_allreduces() noexcept;

/// The same for every MPI collective that moves data.
std::int64_t num_collectives() noexcept;

/// Communicators that this process has made by MPI so far, each a collective too.
std::int64_t num_new_communicators() noexcept;

/// From now on every collective that moves data takes this long, or longer, on this rank.
void set_collective_delay(std::chrono::milliseconds delay) noexcept;

}  // namespace lockstep::testing

/// A REQUIRE that fails on all ranks when it fails on one: a rank that leaves a test case alone
/// would let the others wait forever.
#define REQUIRE_ON_ALL_RANKS(group, condition)                    \
  do {                                                            \
    const bool holds_here = static_cast<bool>(condition);         \
    CHECK(holds_here);                                            \
    REQUIRE(::lockstep::testing::all_ranks((group), holds_here)); \
  } while (false)
