// Who trains together, and whose samples are whose.

#include "lockstep/parallel/strategy.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>

#include "support/mpi.hpp"

namespace lockstep {
namespace {

TEST_CASE("strategy: shards are consecutive, cover the batch and differ by at most one sample") {
  for (int num_ranks = 1; num_ranks <= 9; ++num_ranks)
    for (std::int64_t batch = 0; batch <= 40; ++batch) {
      std::int64_t next = 0;
      std::int64_t smallest = batch;
      std::int64_t largest = 0;
      for (int rank = 0; rank < num_ranks; ++rank) {
        const Shard shard = shard_of(batch, rank, num_ranks);
        REQUIRE(shard.first == next);
        REQUIRE(shard.count >= 0);
        next += shard.count;
        smallest = std::min(smallest, shard.count);
        largest = std::max(largest, shard.count);
      }
      REQUIRE(next == batch);
      REQUIRE(largest - smallest <= 1);
    }
}

TEST_CASE("strategy: units are cut as samples are, and never in two") {
  for (const std::int64_t unit : {2, 3, 7})
    for (int num_ranks = 1; num_ranks <= 5; ++num_ranks)
      for (std::int64_t num_units = 0; num_units <= 11; ++num_units)
        for (std::int64_t missing = 0; missing < (num_units > 0 ? unit : 1); ++missing) {
          const std::int64_t batch = num_units * unit - missing;
          for (int rank = 0; rank < num_ranks; ++rank) {
            const Shard units = shard_of(num_units, rank, num_ranks);
            const Shard shard = shard_of(batch, rank, num_ranks, unit);
            const std::int64_t end = (units.first + units.count) * unit;
            REQUIRE(shard.first == std::min(units.first * unit, batch));
            REQUIRE(shard.first + shard.count == std::min(end, batch));
          }
        }
}

TEST_CASE("strategy: the largest batch is cut without overflow") {
  const std::int64_t batch = std::int64_t{1} << 62;
  for (const std::int64_t unit : {std::int64_t{1}, std::int64_t{3}, batch}) {
    const Shard last = shard_of(batch, 8, 9, unit);
    CHECK(last.first + last.count == batch);
  }
}

TEST_CASE("strategy: the shards of all ranks cover the batch") {
  const Strategy strategy(Communicator::world());
  const Shard shard = strategy.shard_of(13);
  std::array<std::int64_t, 1> total{shard.count};
  allreduce(strategy.replicas(), total, Reduction::sum);
  REQUIRE_ON_ALL_RANKS(strategy.replicas(), total[0] == 13);
  const Shard same = shard_of(13, strategy.rank(), strategy.num_replicas());
  REQUIRE_ON_ALL_RANKS(strategy.replicas(), same.first == shard.first && same.count == shard.count);
}

TEST_CASE("strategy: by default one process trains alone") {
  const Strategy strategy;
  CHECK(strategy.rank() == 0);
  CHECK(strategy.num_replicas() == 1);
  CHECK(strategy.shard_of(7).first == 0);
  CHECK(strategy.shard_of(7).count == 7);
  CHECK(&Strategy::current().replicas() == &Strategy::current().replicas());
  CHECK(Strategy::current().num_replicas() == 1);
}

TEST_CASE("strategy: copies share the communicator, also when moved") {
  const Strategy strategy(Communicator::world());
  Strategy copy = strategy;
  CHECK(&copy.replicas() == &strategy.replicas());
  const Strategy moved = std::move(copy);
  CHECK(&moved.replicas() == &strategy.replicas());
  CHECK(copy.num_replicas() == strategy.num_replicas());  // NOLINT: still usable
}

TEST_CASE("strategy: scopes nest and give back what was there before") {
  const Strategy outer;
  const Strategy inner(Communicator::world());
  const auto is_current = [](const Strategy& strategy) {
    return &Strategy::current().replicas() == &strategy.replicas();
  };
  const Strategy before = Strategy::current();
  {
    const auto in_outer = outer.scope();
    CHECK(is_current(outer));
    {
      const auto in_inner = inner.scope();
      CHECK(is_current(inner));
      const auto in_inner_again = inner.scope();
      CHECK(is_current(inner));
    }
    CHECK(is_current(outer));
  }
  CHECK(is_current(before));
}

TEST_CASE("strategy: an exception leaves its scopes") {
  const Strategy strategy;
  const Strategy before = Strategy::current();
  try {
    const auto outer = strategy.scope();
    const auto inner = Strategy(Communicator::world()).scope();
    throw std::runtime_error("leaving");
  } catch (const std::runtime_error&) {
  }
  CHECK(&Strategy::current().replicas() == &before.replicas());
}

TEST_CASE("strategy: a scope outlives the strategy that it was made of") {
  const Communicator world = Communicator::world();
  const auto scope = Strategy(world.dup()).scope();
  CHECK(Strategy::current().num_replicas() == world.size());
  REQUIRE_ON_ALL_RANKS(Strategy::current().replicas(), true);
}

TEST_CASE("strategy: a scope is seen on its own thread only") {
  const auto scope = Strategy(Communicator::world()).scope();
  int seen_elsewhere = 0;
  std::thread([&] { seen_elsewhere = Strategy::current().num_replicas(); }).join();
  CHECK(seen_elsewhere == 1);
  CHECK(Strategy::current().num_replicas() == Communicator::world().size());
}

TEST_CASE("strategy: a scope can be neither copied nor moved") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Strategy::Scope>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<Strategy::Scope>);
}

}  // namespace
}  // namespace lockstep
