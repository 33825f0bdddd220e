// Collectives: right results, the same bits on every rank, for any size.

#include "lockstep/comm/collectives.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::caught_from;
using testing::is_same_on_all_ranks;

constexpr std::array<std::size_t, 9> sizes{0, 1, 2, 3, 64, 1000, 4097, 20'000, 300'000};

std::vector<double> numbers_of(int rank, std::size_t size) {
  const RandomKey key = RandomKey(9).with(std::int64_t{rank});
  std::vector<double> numbers(size);
  for (std::size_t i = 0; i < size; ++i) numbers[i] = key.uniform(i) - 0.5;
  return numbers;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST_CASE("collectives: a sum of doubles has the same bits on all ranks, for many sizes") {
  const Communicator world = Communicator::world();
  for (const std::size_t size : sizes) {
    std::vector<double> values = numbers_of(world.rank(), size);
    allreduce(world, values, Reduction::sum);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(values))));
    double worst = 0.0;
    for (std::size_t i = 0; i < size; i += 97) {
      double expected = 0.0;
      for (int rank = 0; rank < world.size(); ++rank)
        expected += RandomKey(9).with(std::int64_t{rank}).uniform(i) - 0.5;
      worst = std::max(worst, std::abs(values[i] - expected));
    }
    REQUIRE_ON_ALL_RANKS(world, worst <= 4 * std::numeric_limits<double>::epsilon());
  }
}

TEST_CASE("collectives: a maximum of doubles is exact and the same on all ranks") {
  const Communicator world = Communicator::world();
  for (const std::size_t size : sizes) {
    std::vector<double> values = numbers_of(world.rank(), size);
    std::vector<double> expected = numbers_of(0, size);
    for (int rank = 1; rank < world.size(); ++rank) {
      const std::vector<double> others = numbers_of(rank, size);
      std::ranges::transform(expected, others, expected.begin(),
                             [](double a, double b) { return std::max(a, b); });
    }
    allreduce(world, values, Reduction::maximum);
    REQUIRE_ON_ALL_RANKS(world, values == expected);
  }
}

TEST_CASE("collectives: the maximum keeps a NaN of any rank, infinities and tiny numbers") {
  const Communicator world = Communicator::world();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double tiny = std::numeric_limits<double>::denorm_min();
  for (int holder = 0; holder < world.size(); ++holder) {
    const bool is_holder = world.rank() == holder;
    std::vector<double> values{is_holder ? nan : 1.0,        is_holder ? -nan : infinity,
                               is_holder ? infinity : 1e308, is_holder ? -1.0 : -infinity,
                               is_holder ? -tiny : -2.0,     is_holder ? 0.0 : -0.0,
                               is_holder ? tiny : 0.0};
    allreduce(world, values, Reduction::maximum);
    REQUIRE_ON_ALL_RANKS(world, std::isnan(values[0]) && std::isnan(values[1]));
    REQUIRE_ON_ALL_RANKS(world, values[2] == infinity && values[3] == -1.0 && values[4] == -tiny);
    REQUIRE_ON_ALL_RANKS(world, values[5] == 0.0 && !std::signbit(values[5]) && values[6] == tiny);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(values))));
  }
  std::vector<double> lowest{-infinity, -0.0};
  allreduce(world, lowest, Reduction::maximum);
  REQUIRE_ON_ALL_RANKS(world, lowest[0] == -infinity && std::signbit(lowest[1]));
}

TEST_CASE("collectives: a sum keeps a NaN of any rank to itself and away from its neighbours") {
  const Communicator world = Communicator::world();
  for (int holder = 0; holder < world.size(); ++holder) {
    std::vector<double> values(100, 1.0);
    if (world.rank() == holder) values[50] = std::numeric_limits<double>::quiet_NaN();
    allreduce(world, values, Reduction::sum);
    REQUIRE_ON_ALL_RANKS(world, std::isnan(values[50]));
    REQUIRE_ON_ALL_RANKS(world, std::ranges::count(values, world.size()) == 99);
  }
}

TEST_CASE("collectives: integers are summed and compared exactly") {
  const Communicator world = Communicator::world();
  const std::int64_t rank = world.rank();
  const std::int64_t size = world.size();
  const std::int64_t big = std::int64_t{1} << 60;
  std::vector<std::int64_t> values{rank, -rank, big + rank, 1};
  std::vector<std::int64_t> largest = values;
  allreduce(world, values, Reduction::sum);
  allreduce(world, largest, Reduction::maximum);
  const std::int64_t ranks = size * (size - 1) / 2;
  REQUIRE_ON_ALL_RANKS(world, (values == std::vector{ranks, -ranks, size * big + ranks, size}));
  REQUIRE_ON_ALL_RANKS(world,
                       (largest == std::vector<std::int64_t>{size - 1, 0, big + size - 1, 1}));
  std::vector<std::int64_t> none;
  allreduce(world, none, Reduction::sum);
  REQUIRE_ON_ALL_RANKS(world, none.empty());
}

TEST_CASE("collectives: every rank can be the root of a broadcast") {
  const Communicator world = Communicator::world();
  for (const std::size_t size : sizes)
    for (int root = 0; root < world.size(); ++root) {
      std::vector<double> values = numbers_of(world.rank(), size);
      broadcast(world, std::as_writable_bytes(std::span(values)), root);
      REQUIRE_ON_ALL_RANKS(world, values == numbers_of(root, size));
    }
}

TEST_CASE("collectives: a root that is not there is an error of communication") {
  const Communicator world = Communicator::world();
  std::vector<std::byte> bytes(3);
  if (!world.is_solo())
    CHECK(caught_from([&] { broadcast(world, bytes, world.size()); }).is(ErrorCode::communication));
  REQUIRE_ON_ALL_RANKS(world, true);  // still usable
}

TEST_CASE("collectives: allgather brings all bytes in rank order") {
  const Communicator world = Communicator::world();
  for (const std::size_t size : sizes) {
    if (size > 20'000) continue;
    const std::vector<double> mine = numbers_of(world.rank(), size);
    std::vector<double> all(size * static_cast<std::size_t>(world.size()));
    allgather(world, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
    std::vector<double> expected;
    for (int rank = 0; rank < world.size(); ++rank) {
      const std::vector<double> part = numbers_of(rank, size);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    REQUIRE_ON_ALL_RANKS(world, all == expected);
  }
}

TEST_CASE("collectives: allgather writes nowhere when the room does not fit") {
  const Communicator world = Communicator::world();
  const std::vector<std::byte> mine(4);
  for (const std::size_t room : {3 * mine.size() / 4, mine.size() * 9}) {
    std::vector<std::byte> all(room);
    CHECK(caught_from([&] { allgather(world, mine, all); }).is(ErrorCode::argument));
  }
}

TEST_CASE("collectives: bytes of different length arrive whole, also none at all") {
  const Communicator world = Communicator::world();
  const auto text_of = [](int rank, int round) {
    return std::string(static_cast<std::size_t>((rank + round) % 3 * 1000),
                       static_cast<char>('a' + rank));
  };
  for (int round = 0; round < 3; ++round) {
    const auto all = allgather_varying(world, bytes_of(text_of(world.rank(), round)));
    bool is_right = static_cast<int>(all.size()) == world.size();
    for (int rank = 0; rank < world.size() && is_right; ++rank)
      is_right = all[static_cast<std::size_t>(rank)] == bytes_of(text_of(rank, round));
    REQUIRE_ON_ALL_RANKS(world, is_right);
  }
  const auto none = allgather_varying(world, {});
  REQUIRE_ON_ALL_RANKS(world, std::ranges::all_of(none, [](const auto& b) { return b.empty(); }));
}

}  // namespace
}  // namespace lockstep
