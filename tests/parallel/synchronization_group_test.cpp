// Which ranks share their statistics.

#include "lockstep/parallel/synchronization_group.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;
using testing::is_same_on_all_ranks;
using testing::num_collectives;

// The ranks in `world` of the members of `group`, in the order of the group.
std::vector<int> members_of(const Communicator& group, const Communicator& world) {
  const int mine = world.rank();
  std::vector<int> members(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(members)));
  return members;
}

// The ranks that `is_member` holds for, in order.
std::vector<int> ranks_where(const Communicator& world, const std::function<bool(int)>& is_member) {
  std::vector<int> ranks(static_cast<std::size_t>(world.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  std::erase_if(ranks, [&](int rank) { return !is_member(rank); });
  return ranks;
}

Caught caught_from_group_of(const SynchronizationGroup& group, const Communicator& world) {
  return caught_from([&] { (void)group_of(group, world); });
}

// The law of all kinds: a rank is in one group with those of its own color, in their order, and a
// group of one is solo.
void check_groups(const SynchronizationGroup& group, const Communicator& world,
                  const std::function<int(int)>& color_of) {
  const Communicator mine = group_of(group, world);
  const auto expected =
      ranks_where(world, [&](int rank) { return color_of(rank) == color_of(world.rank()); });
  const bool is_right = members_of(mine, world) == expected;
  REQUIRE_ON_ALL_RANKS(world, is_right);
  REQUIRE_ON_ALL_RANKS(world, expected[static_cast<std::size_t>(mine.rank())] == world.rank());
  REQUIRE_ON_ALL_RANKS(world, (mine.handle() == nullptr) == (expected.size() == 1));
}

TEST_CASE("synchronization group: all replicas, and those on one machine") {
  const Communicator world = Communicator::world();
  check_groups(AllReplicas{}, world, [](int) { return 0; });
  check_groups(ByNode{}, world, [](int) { return 0; });  // tests run on one machine
}

TEST_CASE("synchronization group: sizes cut consecutive ranks, the rest is a smaller group") {
  const Communicator world = Communicator::world();
  for (int size = 1; size <= world.size() + 1; ++size)
    check_groups(BySize{size}, world, [&](int rank) { return rank / size; });
  check_groups(BySize{std::numeric_limits<int>::max()}, world, [](int) { return 0; });
}

TEST_CASE("synchronization group: ranks of one color are a group wherever they stand") {
  const Communicator world = Communicator::world();
  for (const int num_colors : {1, 2, 3, 4}) {
    const auto color_of = [&](int rank) { return rank % num_colors; };
    check_groups(ByColor{color_of(world.rank())}, world, color_of);
  }
  const auto is_last = [&](int rank) {
    return rank == world.size() - 1 ? std::numeric_limits<int>::max() : 0;
  };
  check_groups(ByColor{is_last(world.rank())}, world, is_last);
}

TEST_CASE("synchronization group: a group within a group keeps its order") {
  const Communicator world = Communicator::world();
  const Communicator odd_or_even = group_of(ByColor{world.rank() % 2}, world);
  const Communicator pair = group_of(BySize{2}, odd_or_even);
  const auto expected = ranks_where(world, [&](int rank) {
    return rank % 2 == world.rank() % 2 && rank / 4 == world.rank() / 4;
  });
  const bool is_right = members_of(pair, world) == expected;
  REQUIRE_ON_ALL_RANKS(world, is_right);
}

TEST_CASE("synchronization group: messages of a group are its own") {
  const Communicator world = Communicator::world();
  const Communicator mine = group_of(BySize{2}, world);
  const Traffic before = world.traffic();
  std::array<std::int64_t, 1> sum{world.rank()};
  allreduce(mine, sum, Reduction::sum);
  const std::int64_t through_world = world.traffic().num_messages - before.num_messages;
  const int first = world.rank() / 2 * 2;
  const int next = std::min(first + 1, world.size() - 1);
  REQUIRE_ON_ALL_RANKS(world, sum[0] == (next == first ? first : first + next));
  CHECK(through_world == 0);
  REQUIRE_ON_ALL_RANKS(world, mine.traffic().num_messages == (next == first ? 0 : 1));
}

TEST_CASE("synchronization group: alone, no kind of group calls MPI") {
  const Communicator solo;
  const Communicator one_of_many = group_of(BySize{1}, Communicator::world());
  const std::int64_t before = num_collectives();
  for (const SynchronizationGroup& group :
       std::vector<SynchronizationGroup>{AllReplicas{}, ByNode{}, BySize{3}, ByColor{5}}) {
    CHECK(group_of(group, solo).handle() == nullptr);
    CHECK(group_of(group, one_of_many).handle() == nullptr);
  }
  CHECK(caught_from_group_of(BySize{0}, solo).is(ErrorCode::argument));
  CHECK(caught_from_group_of(ByColor{-1}, solo).is(ErrorCode::argument));
  CHECK(num_collectives() == before);
}

TEST_CASE("synchronization group: what cannot be on one rank is an error on all") {
  const Communicator world = Communicator::world();
  const std::vector<SynchronizationGroup> bad{BySize{0}, BySize{-2}, ByColor{-1},
                                              ByColor{std::numeric_limits<int>::min()}};
  for (const SynchronizationGroup& group : bad)
    for (int guilty = 0; guilty < world.size(); ++guilty) {
      const bool is_guilty = world.rank() == guilty;
      const Caught caught = caught_from_group_of(is_guilty ? group : BySize{2}, world);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      CHECK(caught.rank() == guilty);
    }
  CHECK_THAT(caught_from_group_of(BySize{-2}, world).what, Catch::Contains("-2"));
  CHECK_THAT(caught_from_group_of(ByColor{-1}, world).what, Catch::Contains("-1"));
}

TEST_CASE("synchronization group: ranks that ask for different groups all hear which") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const std::vector<std::pair<SynchronizationGroup, SynchronizationGroup>> pairs{
      {AllReplicas{}, ByNode{}},
      {BySize{2}, BySize{3}},
      {ByColor{1}, BySize{1}},
      {ByNode{}, ByColor{0}}};
  for (const auto& pair : pairs) {
    const bool is_odd = world.rank() == world.size() - 1;
    const Caught caught = caught_from_group_of(is_odd ? pair.second : pair.first, world);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.rank() == world.size() - 1);
    CHECK_THAT(caught.what, Catch::Contains(to_string(pair.first)));
    CHECK_THAT(caught.what, Catch::Contains(to_string(pair.second)));
  }
  // Afterwards they can still make one.
  REQUIRE_ON_ALL_RANKS(world, group_of(AllReplicas{}, world).size() == world.size());
}

TEST_CASE("synchronization group: its text says the kind, not what may differ by rank") {
  CHECK(to_string(AllReplicas{}) == "all replicas");
  CHECK(to_string(ByNode{}) == "by node");
  CHECK(to_string(BySize{4}) == "by size 4");
  CHECK(to_string(ByColor{4}) == "by color");
}

}  // namespace
}  // namespace lockstep
