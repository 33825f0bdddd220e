// Groups of ranks: who belongs to them, and what went through them.

#include "lockstep/comm/communicator.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "comm/handle.hpp"
#include "lockstep/comm/mpi.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::caught_from;
using testing::num_collectives;

// The ranks in `world` of the members of `group`, in the order of the group.
std::vector<int> members_of(const Communicator& group, const Communicator& world) {
  const int mine = world.rank();
  std::vector<int> members(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(members)));
  return members;
}

std::int64_t sum_over(const Communicator& group) {
  std::array<std::int64_t, 1> ones{1};
  allreduce(group, ones, Reduction::sum);
  return ones[0];
}

TEST_CASE("communicator: solo is one rank that calls no MPI") {
  const Communicator solo;
  const std::int64_t before = num_collectives();
  CHECK(solo.rank() == 0);
  CHECK(solo.size() == 1);
  CHECK(solo.is_solo());
  CHECK(solo.handle() == nullptr);
  CHECK(solo.dup().is_solo());
  CHECK(solo.split(3).is_solo());
  CHECK(solo.split_by_node().is_solo());
  CHECK(sum_over(solo) == 1);
  CHECK(solo.traffic().num_messages == 0);
  CHECK(num_collectives() == before);
  CHECK(caught_from([&] { (void)solo.split(-1); }).is(ErrorCode::argument));
}

TEST_CASE("communicator: the world has every rank once") {
  const Communicator world = Communicator::world();
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  REQUIRE_ON_ALL_RANKS(world, world.size() == size);
  const std::vector<int> members = members_of(world, world);
  std::vector<int> expected;
  for (int rank = 0; rank < size; ++rank) expected.push_back(rank);
  REQUIRE_ON_ALL_RANKS(world, members == expected);
}

TEST_CASE("communicator: a duplicate has the same ranks and messages of its own") {
  const Communicator world = Communicator::world();
  const Communicator copy = world.dup();
  REQUIRE_ON_ALL_RANKS(world, copy.rank() == world.rank() && copy.size() == world.size());
  int relation = MPI_UNEQUAL;
  MPI_Comm_compare(copy.handle()->communicator, MPI_COMM_WORLD, &relation);
  REQUIRE_ON_ALL_RANKS(world, relation == MPI_CONGRUENT);
  const Communicator of_users = duplicate(MPI_COMM_WORLD);
  REQUIRE_ON_ALL_RANKS(world, sum_over(of_users) == world.size());
}

TEST_CASE("communicator: a split has the ranks of one color in their order") {
  const Communicator world = Communicator::world();
  const int size = world.size();
  for (const int num_colors : {1, 2, 3}) {
    const int color = world.rank() % num_colors;
    const Communicator part = world.split(color);
    std::vector<int> expected;
    for (int rank = color; rank < size; rank += num_colors) expected.push_back(rank);
    const bool is_right = members_of(part, world) == expected;
    REQUIRE_ON_ALL_RANKS(world, is_right);
    REQUIRE_ON_ALL_RANKS(world, expected[static_cast<std::size_t>(part.rank())] == world.rank());
  }
  // One rank against all others.
  const Communicator uneven = world.split(world.rank() == size - 1 ? 7 : 0);
  const int others = world.rank() == size - 1 ? 1 : size - 1;
  REQUIRE_ON_ALL_RANKS(world, uneven.size() == others);
  REQUIRE_ON_ALL_RANKS(world, sum_over(uneven) == others);
}

TEST_CASE("communicator: a color that cannot be is an error on all ranks") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    const auto caught = caught_from([&] { (void)world.split(world.rank() == guilty ? -4 : 0); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world, testing::is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, caught.origin && caught.origin->rank == guilty);
  }
  REQUIRE_ON_ALL_RANKS(world, world.split(0).size() == world.size());
}

TEST_CASE("communicator: a split by node has the ranks of one machine in their order") {
  const Communicator world = Communicator::world();
  // In another order than that of MPI_COMM_WORLD, which MPI would keep by itself.
  MPI_Comm reversed_ranks = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, 0, world.size() - world.rank(), &reversed_ranks);
  const Communicator reversed = duplicate(reversed_ranks);
  MPI_Comm_free(&reversed_ranks);
  for (const Communicator* group : {&world, &reversed}) {
    const Communicator node = group->split_by_node();
    REQUIRE_ON_ALL_RANKS(world, node.size() == world.size());  // tests run on one machine
    const bool is_right = members_of(node, *group) == members_of(*group, *group);
    REQUIRE_ON_ALL_RANKS(world, is_right);
    REQUIRE_ON_ALL_RANKS(world, sum_over(node) == world.size());
  }
}

TEST_CASE("communicator: ranks that split in different ways are told so") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const auto caught =
      caught_from([&] { (void)(world.rank() == 1 ? world.split(0) : world.split_by_node()); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, testing::is_same_on_all_ranks(world, caught));
}

TEST_CASE("communicator: it can be moved, not copied, and leaves a solo one behind") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Communicator>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Communicator>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Communicator>);
  const Communicator world = Communicator::world();
  Communicator source = world.dup();
  Communicator target = std::move(source);
  REQUIRE_ON_ALL_RANKS(target, target.size() == world.size());
  CHECK(source.is_solo());  // NOLINT: that is the point
  CHECK(source.rank() == 0);
  CHECK(sum_over(source) == 1);
  source = std::move(target);
  REQUIRE_ON_ALL_RANKS(source, source.size() == world.size());
  source = Communicator();
  CHECK(source.is_solo());
}

TEST_CASE("communicator: traffic is what MPI was asked to move, per communicator and in total") {
  const Communicator world = Communicator::world();
  const Communicator other = world.dup();
  const std::int64_t collectives_before = num_collectives();
  const Traffic total_before = total_traffic();
  const Traffic world_before = world.traffic();

  std::array<double, 5> five{};
  allreduce(world, five, Reduction::sum);
  allreduce(world, five, Reduction::maximum);
  broadcast(world, std::as_writable_bytes(std::span(five)), world.size() - 1);
  std::vector<std::byte> all(static_cast<std::size_t>(world.size()) * 40);
  allgather(other, std::as_bytes(std::span(five)), all);

  const bool speaks = world.size() > 1;
  const std::int64_t from_root = world.rank() == world.size() - 1 ? 40 : 0;
  CHECK(world.traffic().num_messages - world_before.num_messages == (speaks ? 3 : 0));
  CHECK(world.traffic().num_bytes - world_before.num_bytes == (speaks ? 80 + from_root : 0));
  CHECK(other.traffic().num_messages == (speaks ? 1 : 0));
  CHECK(other.traffic().num_bytes == (speaks ? 40 : 0));
  CHECK(total_traffic().num_messages - total_before.num_messages ==
        num_collectives() - collectives_before);
  CHECK(total_traffic().num_bytes - total_before.num_bytes == (speaks ? 120 + from_root : 0));
}

TEST_CASE("communicator: every collective is counted, as MPI's profiling interface sees it") {
  const Communicator world = Communicator::world();
  const std::int64_t collectives_before = num_collectives();
  const std::int64_t messages_before = total_traffic().num_messages;
  const std::vector<std::byte> mine(static_cast<std::size_t>(world.rank()));
  (void)allgather_varying(world, mine);
  const Communicator part = world.split(world.rank() % 2);
  std::vector<double> none;
  allreduce(part, none, Reduction::sum);
  CHECK(total_traffic().num_messages - messages_before == num_collectives() - collectives_before);
}

TEST_CASE("communicator: the time of traffic is that within MPI's calls, and no other") {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  constexpr std::chrono::milliseconds delay{20};
  const Communicator world = Communicator::world();
  const Communicator other = world.dup();
  const Traffic total_before = total_traffic();
  const std::int64_t collectives_before = num_collectives();
  std::array<double, 1> value{1.0};

  testing::set_collective_delay(delay);
  const auto start = Clock::now();
  allreduce(other, value, Reduction::sum);
  broadcast(other, std::as_writable_bytes(std::span(value)), 0);
  const auto pause_start = Clock::now();
  std::this_thread::sleep_for(delay);
  const auto pause_end = Clock::now();
  (void)allgather_varying(other, std::as_bytes(std::span(value)));
  const Seconds elapsed = Clock::now() - start - (pause_end - pause_start);
  testing::set_collective_delay(std::chrono::milliseconds{0});

  const auto num_calls = static_cast<double>(num_collectives() - collectives_before);
  const double seconds = other.traffic().seconds;
  CHECK(seconds >= num_calls * Seconds(delay).count());
  CHECK(seconds <= elapsed.count());
  CHECK((seconds > 0.0) == !world.is_solo());
  CHECK(total_traffic().seconds - total_before.seconds == Approx(seconds).epsilon(1e-9));
}

TEST_CASE("communicator: the host has a name") { CHECK_FALSE(host_name().empty()); }

}  // namespace
}  // namespace lockstep
