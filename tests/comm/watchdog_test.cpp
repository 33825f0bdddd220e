// The options of the watchdog, and what it costs when all is well: nothing that can be counted.

#include "lockstep/comm/watchdog.hpp"

#include <array>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "comm/exchange.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using namespace std::chrono_literals;
using testing::caught_from;
using testing::is_same_on_all_ranks;
using testing::num_collectives;
using Seconds = std::chrono::duration<double>;

// Puts the options back.
struct Restored {
  const Communicator& world;
  WatchdogOptions before = watchdog();
  ~Restored() { set_watchdog(world, before); }
};

TEST_CASE("watchdog: it waits for five minutes and warns after ten seconds") {
  CHECK(watchdog().warning == 10s);
  CHECK(watchdog().stall_timeout == 300s);
}

TEST_CASE("watchdog: options hold when all ranks say the same, and are refused otherwise") {
  const Communicator world = Communicator::world();
  const Restored restored{world};
  const WatchdogOptions wanted{.warning = 1s, .stall_timeout = 20s};
  set_watchdog(world, wanted);
  REQUIRE_ON_ALL_RANKS(world, watchdog() == wanted);

  for (int odd = 1; odd < world.size(); ++odd) {
    const auto caught = caught_from([&] {
      set_watchdog(world, {.warning = 1s, .stall_timeout = world.rank() == odd ? 0s : 9s});
    });
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch) && caught.rank() == odd);
    REQUIRE_ON_ALL_RANKS(world, watchdog() == wanted);
  }
  for (const double nonsense : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    const auto caught = caught_from([&] { set_watchdog(world, {.warning = Seconds(nonsense)}); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world, watchdog() == wanted);
  }
}

TEST_CASE("watchdog: on or off, late ranks or none, sums and the number of messages are the same") {
  const Communicator world = Communicator::world();
  const Restored restored{world};
  for (const Seconds stall_timeout : {Seconds(30), Seconds(0)}) {
    set_watchdog(world, {.warning = 20s, .stall_timeout = stall_timeout});
    Exchange exchange(world, "layer 'a'", "forward", 3);
    for (const auto delay : {0ms, 60ms}) {
      if (world.rank() == world.size() - 1) std::this_thread::sleep_for(delay);
      for (double& value : exchange.payload()) value = 1.0;
      const std::int64_t before = num_collectives();
      exchange.merge(-1, std::nullopt);
      const std::int64_t count = num_collectives() - before;
      REQUIRE_ON_ALL_RANKS(world, count == (world.is_solo() ? 0 : 1));
      REQUIRE_ON_ALL_RANKS(world, exchange.payload()[2] == world.size());
    }
  }
}

TEST_CASE("watchdog: every collective works on either side of a switch") {
  const Communicator world = Communicator::world();
  const Restored restored{world};
  for (const Seconds stall_timeout : {Seconds(0), Seconds(30), Seconds(0)}) {
    set_watchdog(world, {.stall_timeout = stall_timeout});
    const Communicator part = world.split(world.rank() % 2).dup();
    std::array<std::int64_t, 1> largest{world.rank()};
    allreduce(part, largest, Reduction::maximum);
    REQUIRE_ON_ALL_RANKS(world, largest[0] % 2 == world.rank() % 2);
    const auto ranks = allgather_varying(part, std::as_bytes(std::span(largest)));
    REQUIRE_ON_ALL_RANKS(world, static_cast<int>(ranks.size()) == part.size());
    const Communicator node = world.split_by_node();
    REQUIRE_ON_ALL_RANKS(world, node.size() <= world.size());
  }
}

}  // namespace
}  // namespace lockstep
