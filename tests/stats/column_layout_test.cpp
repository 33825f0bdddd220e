// Channels of a tensor in memory.

#include "stats/column_layout.hpp"

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("axes count from either end", "[stats]") {
  const Shape shape{2, 3, 4, 5};
  for (int axis = 0; axis < 4; ++axis) {
    CHECK(resolved_axis(axis, shape) == axis);
    CHECK(resolved_axis(axis - 4, shape) == axis);
  }
  CHECK_THROWS_AS(resolved_axis(4, shape), ArgumentError);
  CHECK_THROWS_AS(resolved_axis(-5, shape), ArgumentError);
  CHECK_THROWS_AS(resolved_axis(0, Shape{}), ArgumentError);
}

TEST_CASE("every axis cuts a tensor into outer, channels and inner", "[stats]") {
  const Shape shape{2, 3, 4, 5};
  for (int axis = 0; axis < 4; ++axis) {
    const Columns columns = columns_of(shape, axis);
    CHECK(columns.channels == shape[axis]);
    CHECK(columns.outer * columns.channels * columns.inner == shape.num_elements());
    CHECK(columns.num_per_channel() == shape.num_elements() / shape[axis]);
  }
  CHECK(columns_of(shape, 1).inner == 20);
  CHECK(columns_of(shape, 3).outer == 24);
  CHECK(columns_of({0, 3}, 1).num_per_channel() == 0);
}
