// How the benchmark takes times, on a clock that stands still between calls.

#include <string>

#include "bench/measure.hpp"
#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("candidates take turns, and their samples are long enough") {
  double now = 0.0;
  std::string calls;
  const auto candidate = [&](const char* name, double seconds) {
    return Candidate{name, [&now, &calls, name, seconds] {
                       now += seconds;
                       calls += name;
                     }};
  };
  const auto series = measure(Communicator(), {candidate("a", 3.0), candidate("b", 1.0)},
                              {.rounds = 2, .shortest_sample = 2.0, .now = [&] { return now; }});
  // Calls are counted out first: one of a suffices, two of b are needed.
  CHECK(calls ==
        "aa"
        "bbbb"
        "aabbb"
        "aabbb");
  CHECK(series.at("a") == Series{3.0, 3.0});
  CHECK(series.at("b") == Series{1.0, 1.0});
}

TEST_CASE("a call that takes no time ends the counting all the same") {
  int num_calls = 0;
  const auto series = measure(Communicator(), {{"a", [&] { ++num_calls; }}},
                              {.rounds = 1, .now = [] { return 0.0; }});
  CHECK(series.at("a") == Series{0.0});
  CHECK(num_calls > 1);
}

TEST_CASE("medians, spreads and ratios") {
  CHECK(median_of({5.0}) == 5.0);
  CHECK(median_of({9.0, 1.0, 2.0}) == 2.0);
  CHECK(median_of({4.0, 1.0, 2.0, 100.0}) == 3.0);
  CHECK(spread_of({4.0, 4.0, 4.0}) == 0.0);
  CHECK(spread_of({1.0, 2.0, 4.0, 6.0, 100.0}) == 1.0);
  // Round by round: what slows down both does not show.
  CHECK(ratio_of({2.0, 20.0, 4.0}, {1.0, 10.0, 2.0}) == 2.0);
  CHECK(by_round({3.0, 4.0}, {1.0, 1.0}, std::minus<>()) == Series{2.0, 3.0});
}
