// Values kept by their keys.

#include "kernels/recently_used.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("what was used longest ago is made again") {
  RecentlyUsed<int, int, 3> squares;
  std::vector<int> made;
  const auto get = [&](int key) {
    return squares.get(key, [&] {
      made.push_back(key);
      return key * key;
    });
  };
  for (const int key : {1, 2, 3, 1, 4, 1, 3, 2}) CHECK(get(key) == key * key);
  CHECK(made == std::vector{1, 2, 3, 4, 2});
  CHECK(squares.size() == 3);
}

TEST_CASE("a value that could not be made leaves the others") {
  RecentlyUsed<int, int, 1> values;
  CHECK(values.get(1, [] { return 5; }) == 5);
  CHECK_THROWS_AS(values.get(2, []() -> int { throw 0; }), int);
  CHECK(values.get(1, [] { return 6; }) == 5);
}
