// Blocks of an arena: apart from each other, given back in reverse order, without the heap once the
// largest need was seen.

#include "base/arena.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

using lockstep::testing::num_allocations;

namespace lockstep {
namespace {

TEST_CASE("blocks are aligned, keep what is written, and do not overlap") {
  std::mt19937 engine(1);
  Arena arena;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::span<std::byte>> blocks;
    for (std::uint8_t i = 0; i < 30; ++i) {
      const std::size_t size = engine() % 5000;
      blocks.emplace_back(arena.take(size), size);
      CHECK(reinterpret_cast<std::uintptr_t>(blocks.back().data()) % cache_line == 0);
      std::ranges::fill(blocks.back(), std::byte{i});
    }
    for (std::uint8_t i = 0; i < 30; ++i)
      CHECK(std::ranges::all_of(blocks[i], [&](std::byte b) { return b == std::byte{i}; }));
    arena.release();
  }
}

TEST_CASE("what was released is taken again, in the same places") {
  Arena arena;
  std::byte* const first = arena.take(100);
  const Arena::Mark mark = arena.mark();
  std::byte* const second = arena.take(1000);
  static_cast<void>(arena.take(1'000'000));
  arena.release(mark);
  CHECK(arena.take(1000) == second);
  arena.release();
  static_cast<void>(arena.take(2'000'000));  // one piece by now
  arena.release();
  std::byte* const again = arena.take(100);
  CHECK(arena.take(1000) == again + 128);
  CHECK(first != second);
}

TEST_CASE("up to the largest need nothing is allocated, and it is one piece") {
  Arena arena;
  const auto take_all = [&](std::size_t scale) {
    std::vector<std::byte*> blocks;
    blocks.reserve(10);
    const std::int64_t before = num_allocations();
    for (std::size_t i = 1; i <= 10; ++i) blocks.push_back(arena.take(i * scale));
    arena.release();
    const std::int64_t count = num_allocations() - before;
    return std::pair(count, std::ranges::is_sorted(blocks));
  };
  CHECK(take_all(1000).first > 0);
  for (const std::size_t scale : {1000U, 10U, 0U, 999U})
    CHECK(take_all(scale) == std::pair(0L, true));
  CHECK(take_all(3000).first > 0);
  CHECK(take_all(3000) == std::pair(0L, true));
}

TEST_CASE("reserved memory is one piece, unless the arena is in use") {
  Arena arena;
  arena.reserve(10'000);
  CHECK(arena.capacity() == in_cache_lines(10'000));
  std::byte* const first = arena.take(5'000);
  CHECK(arena.take(4'900) == first + in_cache_lines(5'000));
  arena.reserve(100'000);
  CHECK(arena.capacity() == in_cache_lines(10'000));
  arena.release();
  arena.reserve(5'000);
  CHECK(arena.capacity() == in_cache_lines(10'000));
  arena.reserve(100'000);
  CHECK(arena.capacity() == in_cache_lines(100'000));
}

TEST_CASE("without memory it throws and stays as it was") {
  Arena arena;
  std::byte* const block = arena.take(1000);
  const std::size_t capacity = arena.capacity();
  CHECK_THROWS_AS(arena.take(std::size_t{1} << 62), MemoryError);
  CHECK(arena.capacity() == capacity);
  arena.release();
  CHECK(arena.take(1000) == block);
}

TEST_CASE("scratch of one thread nests, and every thread has its own") {
  Scratch outer;
  std::byte* const first = outer.take(64);
  std::byte* inner_block = nullptr;
  for (int round = 0; round < 2; ++round) {
    Scratch inner;
    std::byte* const block = inner.take(128);
    CHECK((round == 0 || block == inner_block));
    CHECK(block != first);
    inner_block = block;
  }
  std::byte* other = nullptr;
  std::thread([&] { other = Scratch().take(64); }).join();
  CHECK(other != first);
  CHECK(outer.take(Shape{2, 3}, DType::float64).num_elements() == 6);
}

}  // namespace
}  // namespace lockstep
