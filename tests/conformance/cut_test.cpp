// How batches are cut over ranks: every element goes to one rank, in order.

#include "conformance/cut.hpp"

#include <numeric>

#include "support/catch.hpp"

using namespace lockstep;
using namespace lockstep::conformance;

namespace {

Case case_of(const Shape& input, int split_axis, Axes channels) {
  Case one;
  one.options.axis = std::move(channels);
  one.split_axis = split_axis;
  Step step;
  StoredArray x;
  x.shape = input;
  step.inputs.emplace("x", x);
  one.steps.push_back(step);
  return one;
}

std::vector<std::int64_t> counts_of(const Cut& cut, std::int64_t extent, int num_ranks) {
  std::vector<std::int64_t> counts;
  std::int64_t first = 0;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const Shard part = part_of(cut, extent, rank, num_ranks);
    if (part.count > 0) CHECK(part.first == first);
    first += part.count;
    counts.push_back(part.count);
  }
  CHECK(first == extent);
  return counts;
}

using Counts = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("every split for the ranks there are is used, each once") {
  Case one = case_of({6, 2}, 0, -1);
  one.splits = {{6}, {3, 3}, {0, 6}, {3, 3}, {2, 2, 2}};
  const auto cuts = cuts_of(one, 2);
  REQUIRE(cuts.size() == 2);
  CHECK(to_string(cuts[0]) == "split 3+3");
  CHECK(to_string(cuts[1]) == "split 0+6");
  CHECK(counts_of(cuts[1], 6, 2) == Counts{0, 6});
}

TEST_CASE("what no split fits is cut evenly") {
  Case one = case_of({6, 2}, 0, -1);
  one.splits = {{6}, {1, 5}};
  CHECK(counts_of(cuts_of(one, 2).front(), 7, 2) == Counts{4, 3});
  REQUIRE(cuts_of(one, 4).size() == 1);
  CHECK(counts_of(cuts_of(one, 4).front(), 6, 4) == Counts{2, 2, 1, 1});
}

TEST_CASE("a case with ghost batches is cut as its splits say, or not at all") {
  Case one = case_of({6, 2}, 0, -1);
  one.options.virtual_batch_size = 2;
  one.splits = {{6}, {4, 2}};
  CHECK(counts_of(cuts_of(one, 2).front(), 6, 2) == Counts{4, 2});
  CHECK(counts_of(cuts_of(one, 3).front(), 6, 3) == Counts{6, 0, 0});
}

TEST_CASE("channels are never cut, nor is anything on one rank") {
  for (const Axes& channels : {Axes(0), Axes(-2), Axes{1, 0}}) {
    const auto cuts = cuts_of(case_of({6, 2}, 0, channels), 3);
    REQUIRE(cuts.size() == 1);
    CHECK_FALSE(cuts.front().is_shared);
    CHECK(part_of(cuts.front(), 6, 1, 3).count == 6);
  }
  CHECK_FALSE(cuts_of(case_of({6, 2}, 0, 1), 1).front().is_shared);
  CHECK(cuts_of(case_of({6, 2}, 0, 1), 3).front().is_shared);
}

TEST_CASE("slices along any axis are what lies there") {
  Array array{{2, 3, 2}, std::vector<double>(12)};
  std::iota(array.values.begin(), array.values.end(), 0.0);
  CHECK(slice(array, 0, {1, 1}).values == std::vector<double>{6, 7, 8, 9, 10, 11});
  CHECK(slice(array, 1, {1, 2}).values == std::vector<double>{2, 3, 4, 5, 8, 9, 10, 11});
  CHECK(slice(array, 2, {1, 1}).values == std::vector<double>{1, 3, 5, 7, 9, 11});
  CHECK(slice(array, 1, {3, 0}).shape == Shape{2, 0, 2});
  CHECK(slice(array, 1, {3, 0}).values.empty());
}
