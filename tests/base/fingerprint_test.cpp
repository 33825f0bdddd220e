// Every bit of memory counts.

#include "base/fingerprint.hpp"

#include <set>
#include <vector>

#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("memory that differs in one bit or in length has another fingerprint") {
  std::set<std::uint64_t> prints;
  std::size_t num_pieces = 0;
  for (std::size_t size = 0; size < 40; ++size) {
    std::vector<std::byte> bytes(size);
    prints.insert(fingerprint_of(bytes));
    CHECK(fingerprint_of(bytes) == fingerprint_of(std::vector<std::byte>(size)));
    ++num_pieces;
    for (std::byte& byte : bytes)
      for (int bit = 0; bit < 8; ++bit) {
        byte ^= std::byte{1} << bit;
        prints.insert(fingerprint_of(bytes));
        byte ^= std::byte{1} << bit;
        ++num_pieces;
      }
  }
  CHECK(prints.size() == num_pieces);
}

TEST_CASE("words that change places are noticed") {
  const std::vector<std::uint64_t> words{1, 2}, swapped{2, 1};
  CHECK(fingerprint_of(std::as_bytes(std::span(words))) !=
        fingerprint_of(std::as_bytes(std::span(swapped))));
}
