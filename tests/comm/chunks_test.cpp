// Pieces of a transfer: consecutive, complete, none above the limit.

#include "comm/chunks.hpp"

#include <climits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace lockstep {
namespace {

using Pieces = std::vector<std::pair<std::size_t, int>>;

Pieces pieces_of(std::size_t total, std::size_t limit) {
  Pieces pieces;
  for_each_chunk(
      total, [&](std::size_t first, int count) { pieces.emplace_back(first, count); }, limit);
  return pieces;
}

TEST_CASE("chunks: pieces are consecutive, cover the total and stay within the limit") {
  for (std::size_t limit = 1; limit <= 7; ++limit)
    for (std::size_t total = 1; total <= 30; ++total) {
      std::size_t next = 0;
      for (const auto& [first, count] : pieces_of(total, limit)) {
        REQUIRE(first == next);
        REQUIRE(count > 0);
        REQUIRE(count <= static_cast<int>(limit));
        next += static_cast<std::size_t>(count);
      }
      REQUIRE(next == total);
      REQUIRE(pieces_of(total, limit).size() == (total + limit - 1) / limit);
    }
}

TEST_CASE("chunks: nothing to transfer is one empty piece") {
  CHECK(pieces_of(0, 5) == Pieces{{0, 0}});
}

TEST_CASE("chunks: more elements than an int can count are several calls") {
  STATIC_REQUIRE(max_chunk <= static_cast<std::size_t>(INT_MAX));
  const std::size_t total = std::size_t{INT_MAX} + 5;
  const Pieces pieces = pieces_of(total, max_chunk);
  REQUIRE(pieces.size() == 3);
  CHECK(pieces[2].first + static_cast<std::size_t>(pieces[2].second) == total);
}

}  // namespace
}  // namespace lockstep
