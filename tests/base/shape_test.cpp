// Extents of tensors, judged without overflow.

#include "lockstep/base/shape.hpp"

#include <cstdint>
#include <limits>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr std::int64_t huge = std::int64_t{1} << 40;
constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

TEST_CASE("shape: the number of elements is the product of the extents") {
  CHECK(Shape{}.num_elements() == 1);
  CHECK(Shape{7}.num_elements() == 7);
  CHECK(Shape{2, 3, 4}.num_elements() == 24);
  CHECK(Shape{largest}.num_elements() == largest);
}

TEST_CASE("shape: a zero extent makes it empty whatever stands beside it") {
  CHECK(Shape{0}.num_elements() == 0);
  CHECK(Shape{4, 0, 3}.num_elements() == 0);
  CHECK(Shape{huge, huge, 0}.is_valid());
  CHECK(Shape{huge, huge, 0}.num_elements() == 0);
  CHECK(Shape{0, largest, largest}.num_elements() == 0);
}

TEST_CASE("shape: valid is what has no negative extent and a countable number of elements") {
  CHECK(Shape{}.is_valid());
  CHECK(Shape{largest, 1}.is_valid());
  CHECK(Shape{std::int64_t{1} << 31, std::int64_t{1} << 31}.is_valid());
  CHECK_FALSE(Shape{std::int64_t{1} << 32, std::int64_t{1} << 31}.is_valid());
  CHECK_FALSE(Shape{huge, huge}.is_valid());
  CHECK_FALSE(Shape{-1}.is_valid());
  CHECK_FALSE(Shape{-1, -1}.is_valid());
  CHECK_FALSE(Shape{0, -1}.is_valid());
}

TEST_CASE("shape: extents can be read by axis and in order") {
  const Shape shape{5, 6, 7};
  CHECK(shape.rank() == 3);
  CHECK(shape[1] == 6);
  CHECK(std::vector<std::int64_t>(shape.begin(), shape.end()) ==
        std::vector<std::int64_t>{5, 6, 7});
}

TEST_CASE("shape: equal are shapes of equal rank and extents") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{2} != Shape{2, 1});
  CHECK(Shape{} != Shape{0});
  CHECK(Shape{2, 3, 4}.without_first().without_first() == Shape{4});  // nothing left behind
}

TEST_CASE("shape: without_first undoes prepended, with changes one extent") {
  const Shape shape{2, 3};
  CHECK(shape.prepended(9) == Shape{9, 2, 3});
  CHECK(shape.prepended(9).without_first() == shape);
  CHECK(Shape{}.prepended(4) == Shape{4});
  CHECK(Shape{4}.without_first() == Shape{});
  CHECK(shape.with(1, 8) == Shape{2, 8});
  CHECK(shape == Shape{2, 3});
}

TEST_CASE("shape: more axes than there is room for are refused") {
  const std::vector<std::int64_t> most(Shape::max_rank, 1);
  const std::vector<std::int64_t> too_many(Shape::max_rank + 1, 1);
  CHECK(Shape(most).rank() == Shape::max_rank);
  CHECK_THROWS_AS(Shape(too_many), ArgumentError);
  CHECK_THROWS_AS(Shape(most).prepended(1), ArgumentError);
  CHECK(Shape(most).without_first().rank() == Shape::max_rank - 1);
}

TEST_CASE("shape: in words") {
  CHECK(to_string(Shape{}) == "[]");
  CHECK(to_string(Shape{32, 8, 8, 1}) == "[32, 8, 8, 1]");
  CHECK(to_string(Shape{-1}) == "[-1]");
}

}  // namespace
}  // namespace lockstep
