// Sums that are under way while ranks do something else.

#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "comm/begin_allreduce.hpp"
#include "lockstep/comm/watchdog.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::num_allreduces;

std::vector<double> numbers_of(int rank, std::size_t count) {
  std::vector<double> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = (rank + 1.0) * static_cast<double>(i % 13);
  return numbers;
}

// With the watchdog as it is, and off.
template <class Body>
void with_and_without_watchdog(const Communicator& world, Body&& body) {
  const WatchdogOptions before = watchdog();
  for (const double stall_timeout : {30.0, 0.0}) {
    set_watchdog(world, {.warning = before.warning,
                         .stall_timeout = std::chrono::duration<double>(stall_timeout)});
    body();
  }
  set_watchdog(world, before);
}

TEST_CASE("pending call: sums are those of allreduce, of any length, several at once") {
  const Communicator world = Communicator::world();
  with_and_without_watchdog(world, [&] {
    for (const std::size_t count : {0U, 1U, 5U, 1280U, 1281U, 70'000U}) {
      std::vector<double> doubles = numbers_of(world.rank(), count), expected = doubles;
      std::vector<std::int64_t> integers(count, world.rank() + 1), wanted = integers;
      const std::int64_t before = num_allreduces();
      PendingCall one = begin_allreduce(world, doubles);
      PendingCall other = begin_allreduce(world, integers);
      other.finish();
      one.finish();
      one.finish();  // nothing is under way any more
      const std::int64_t num_calls = num_allreduces() - before;
      allreduce(world, expected, Reduction::sum);
      allreduce(world, wanted, Reduction::sum);
      REQUIRE_ON_ALL_RANKS(world, doubles == expected);
      REQUIRE_ON_ALL_RANKS(world, integers == wanted);
      REQUIRE_ON_ALL_RANKS(world, num_calls == (world.is_solo() ? 0 : 2));
    }
  });
}

TEST_CASE("pending call: one that is forgotten is finished, one that is moved goes on") {
  const Communicator world = Communicator::world();
  with_and_without_watchdog(world, [&] {
    std::vector<double> sums{1.0, 2.0};
    {
      PendingCall pending = begin_allreduce(world, sums);
      const PendingCall moved(std::move(pending));
    }
    REQUIRE_ON_ALL_RANKS(world, sums[1] == 2.0 * world.size());
    PendingCall place;
    for (int turn = 0; turn < 3; ++turn) {
      sums = {1.0, 2.0};
      place = begin_allreduce(world, sums);
      place.finish();
      REQUIRE_ON_ALL_RANKS(world, sums[0] == world.size());
    }
  });
}

TEST_CASE("pending call: traffic counts it once, and no time in between") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const Traffic before = world.traffic();
  std::vector<double> sums(100, 1.0);
  PendingCall pending = begin_allreduce(world, sums);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  pending.finish();
  const Traffic after = world.traffic();
  REQUIRE_ON_ALL_RANKS(world, after.num_messages - before.num_messages == 1);
  REQUIRE_ON_ALL_RANKS(world, after.num_bytes - before.num_bytes == 800);
  REQUIRE_ON_ALL_RANKS(world, after.seconds - before.seconds < 0.25);
}

}  // namespace
}  // namespace lockstep
