// Output extents and padding, against numbers worked out by hand from TensorFlow's formulas.

#include "layers/window.hpp"

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

struct Row {
  std::int64_t extent;
  std::int64_t size;
  std::int64_t stride;
  Padding padding;
  std::int64_t output;
  std::int64_t before;  // elements of padding in front
};

constexpr Row table[] = {
    {7, 3, 1, Padding::valid, 5, 0},    {7, 3, 2, Padding::valid, 3, 0},
    {8, 3, 2, Padding::valid, 3, 0},    {5, 5, 1, Padding::valid, 1, 0},
    {7, 2, 3, Padding::valid, 2, 0},    {1, 1, 4, Padding::valid, 1, 0},
    {7, 3, 1, Padding::same, 7, 1},     {7, 3, 2, Padding::same, 4, 1},
    {8, 3, 2, Padding::same, 4, 0},     {7, 2, 1, Padding::same, 7, 0},
    {7, 2, 2, Padding::same, 4, 0},     {8, 2, 2, Padding::same, 4, 0},
    {6, 1, 2, Padding::same, 3, 0},     {2, 5, 1, Padding::same, 2, 2},
    {10, 4, 3, Padding::same, 4, 1},    {1, 3, 2, Padding::same, 1, 1},
    {224, 7, 2, Padding::same, 112, 2},
};

TEST_CASE("positions and padding are TensorFlow's along both axes") {
  for (const Row& row : table) {
    CAPTURE(row.extent, row.size, row.stride, name_of(row.padding));
    const Window window =
        window_of({1, row.extent, 9, 1}, "size", {row.size, 1}, {row.stride, 1}, row.padding);
    REQUIRE(window.vertical.output == row.output);
    REQUIRE(window.vertical.padding == row.before);
    REQUIRE(window.horizontal.output == 9);
    const Window other =
        window_of({1, 9, row.extent, 1}, "size", {1, row.size}, {1, row.stride}, row.padding);
    REQUIRE(other.horizontal.output == row.output);
    REQUIRE(other.horizontal.padding == row.before);
  }
}

TEST_CASE("every position covers an element of the input") {
  for (const Padding padding : {Padding::valid, Padding::same})
    for (std::int64_t extent = 1; extent < 9; ++extent)
      for (std::int64_t size = 1; size < (padding == Padding::valid ? extent + 1 : 12); ++size)
        for (std::int64_t stride = 1; stride < 6; ++stride) {
          const WindowAxis axis =
              window_of({1, extent, 1, 1}, "size", {size, 1}, {stride, 1}, padding).vertical;
          for (std::int64_t position = 0; position < axis.output; ++position) {
            const Interval covered = covered_at(axis, position);
            REQUIRE(covered.first < covered.last);
            REQUIRE(covered.last <= extent);
          }
        }
}

TEST_CASE("huge windows and strides do not overflow") {
  constexpr std::int64_t huge = INT64_MAX;
  const WindowAxis axis =
      window_of({1, 7, 7, 1}, "size", {huge, huge}, {huge, huge}, Padding::same).vertical;
  REQUIRE(axis.output == 1);
  REQUIRE(covered_at(axis, 0).first == 0);
  REQUIRE(covered_at(axis, 0).last == 7);
}

TEST_CASE("extents go by name in both data formats") {
  for (const DataFormat data_format : {DataFormat::nhwc, DataFormat::nchw}) {
    const Shape shape = data_format == DataFormat::nhwc ? Shape{2, 5, 6, 3} : Shape{2, 3, 5, 6};
    const ImageExtents extents = image_extents_of(shape, data_format);
    REQUIRE(extents.samples == 2);
    REQUIRE(extents.height == 5);
    REQUIRE(extents.width == 6);
    REQUIRE(extents.channels == 3);
    REQUIRE(shape_of(extents, data_format) == shape);
  }
  REQUIRE(image_extents_of({0, 5, 6, 3}, DataFormat::nhwc).samples == 0);
}

TEST_CASE("what is no batch of images is refused with the shape") {
  for (const Shape& shape : {Shape{2, 5, 6}, Shape{2, 5, 6, 3, 1}, Shape{2, 0, 6, 3},
                             Shape{2, 5, 0, 3}, Shape{2, 5, 6, 0}, Shape{-1, 5, 6, 3}}) {
    REQUIRE_THROWS_AS(image_extents_of(shape, DataFormat::nhwc), ArgumentError);
    REQUIRE_THROWS_WITH(image_extents_of(shape, DataFormat::nchw),
                        Catch::Contains(to_string(shape)));
  }
}

TEST_CASE("impossible windows are refused with what was expected") {
  const ImageExtents images{2, 5, 6, 3};
  for (const Size2D& bad : {Size2D{0, 1}, Size2D{1, 0}, Size2D{-2, 1}, Size2D{1, -1}}) {
    REQUIRE_THROWS_AS(window_of(images, "size", bad, {1, 1}, Padding::same), ArgumentError);
    REQUIRE_THROWS_WITH(window_of(images, "size", {1, 1}, bad, Padding::same),
                        Catch::Contains("strides") && Catch::Contains(to_string(bad)));
  }
  REQUIRE_THROWS_AS(window_of(images, "size", {6, 1}, {1, 1}, Padding::valid), ArgumentError);
  REQUIRE_THROWS_WITH(
      window_of(images, "pool_size", {1, 7}, {1, 1}, Padding::valid),
      Catch::Contains("pool_size") && Catch::Contains("[5, 6]") && Catch::Contains("[1, 7]"));
}

}  // namespace
}  // namespace lockstep
