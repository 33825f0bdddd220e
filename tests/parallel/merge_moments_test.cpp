// Groups of ranks pool what they know: every group once, whatever its size.

#include "parallel/merge_moments.hpp"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "lockstep/parallel/synchronization_group.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::is_same_on_all_ranks;
using testing::num_allreduces;
using testing::num_collectives;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// What the group of this number knows. Channel 2 is known to group 1 only, channel 3 to none.
struct Knowledge {
  explicit Knowledge(int group) {
    const double g = group;
    count = {4.0 + 3.0 * g, 1e5 * (g + 1.0), group == 1 ? 7.0 : 0.0, 0.0};
    mean = {g * g - 1.0, 1e6 + g, group == 1 ? 5.0 : nan, nan};
    variance = {0.5 * g, 2.0, group == 1 ? 0.25 : nan, nan};
  }

  [[nodiscard]] MomentsView view() const { return {count, mean, variance}; }

  std::vector<double> count, mean, variance;
};

constexpr std::size_t num_channels = 4;

// All numbers of a pool, one channel after another.
std::vector<double> values_of(const PooledMoments& pool) {
  std::vector<double> values;
  for (std::size_t c = 0; c < num_channels; ++c)
    for (const double value : {pool.count(c), pool.mean(c), pool.variance(c)})
      values.push_back(value);
  return values;
}

PooledMoments pool_of_groups(int num_groups) {
  PooledMoments pool(num_channels);
  for (int group = 0; group < num_groups; ++group) pool.add_mean(Knowledge(group).view());
  for (int group = 0; group < num_groups; ++group) pool.add_variance(Knowledge(group).view());
  return pool;
}

TEST_CASE("merged moments: groups of any size, also uneven ones, count once") {
  const Communicator world = Communicator::world();
  for (int size = 1; size <= world.size() + 1; ++size) {
    const Communicator group = group_of(BySize{size}, world);
    const Knowledge mine(world.rank() / size);
    PooledMoments pool(num_channels);
    const std::int64_t allreduces = num_allreduces();
    const std::int64_t collectives = num_collectives();
    merge_moments(world, group, mine.view(), pool);
    CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 2));
    CHECK(num_collectives() - collectives == (world.is_solo() ? 0 : 2));

    const std::vector<double> found = values_of(pool);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(found))));
    const std::vector<double> expected = values_of(pool_of_groups((world.size() - 1) / size + 1));
    for (std::size_t i = 0; i < expected.size(); ++i)  // up to the order of at most four terms
      CHECK(std::abs(found[i] - expected[i]) <= 8.0 * 0x1p-52 * std::abs(expected[i]));
  }
}

TEST_CASE("merged moments: groups may be any ranks, in any order") {
  const Communicator world = Communicator::world();
  const int color = world.rank() % 2;
  const Communicator group = group_of(ByColor{color}, world);
  PooledMoments pool(num_channels);
  merge_moments(world, group, Knowledge(color).view(), pool);
  const std::vector<double> expected = values_of(pool_of_groups(world.is_solo() ? 1 : 2));
  // Of two terms the order makes no difference.
  REQUIRE_ON_ALL_RANKS(world, values_of(pool) == expected);
}

TEST_CASE("merged moments: a rank that is alone keeps what it knows, without a message") {
  const std::int64_t before = num_collectives();
  PooledMoments pool(num_channels);
  merge_moments(Communicator(), Communicator(), Knowledge(1).view(), pool);
  CHECK(pool.mean(2) == 5.0);
  CHECK(pool.variance(2) == 0.25);
  CHECK(num_collectives() == before);
}

}  // namespace
}  // namespace lockstep
