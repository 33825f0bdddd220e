// Which shapes the benchmark takes, and where their channels lie.

#include <algorithm>

#include "bench/workload.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("two or four whole numbers are a shape") {
  CHECK(extents_of("256,64") == Shape{256, 64});
  CHECK(extents_of("1,2,3,4") == Shape{1, 2, 3, 4});
  CHECK(extents_of("65536,65536") == Shape{65536, 65536});
  for (const char* text : {"", "8", "8,4,2", "8,4,2,2,2", "0,4", "8,-4", "8,4,2,x", "8,,4", "8,4,",
                           ",8", "8;4", "8, 4", "8.5,4", "65536,65537", "99999999999999999999,1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(extents_of(text), ArgumentError);
  }
}

TEST_CASE("every element has the channel that its place in the layout says") {
  for (const Layout layout : {Layout::nhwc, Layout::nchw, Layout::nc}) {
    const bool has_images = layout != Layout::nc;
    const Workload workload{has_images ? Shape{2, 3, 4, 5} : Shape{2, 3}, layout};
    const Shape shape = workload.tensor_shape();
    const int axis = (workload.channel_axis() + shape.rank()) % shape.rank();
    CHECK(shape[axis] == 3);
    std::int64_t stride = 1;
    for (int i = axis + 1; i < shape.rank(); ++i) stride *= shape[i];
    std::int64_t next = 0;
    for_each_element(workload, [&](std::int64_t i, std::size_t channel) {
      CHECK(i == next++);
      CHECK(static_cast<std::int64_t>(channel) == i / stride % 3);
      CHECK(workload.channel_of(i) == i / stride % 3);
    });
    CHECK(next == workload.num_elements());
  }
}

TEST_CASE("images are measured in every layout that is asked for, rows in one") {
  CHECK(workloads_of({.shapes = {"2,3,4,5", "2,3"}}).size() == 3);
  const auto workloads = workloads_of({.shapes = {"2,3,4,5"}, .layout = "nchw"});
  REQUIRE(workloads.size() == 1);
  CHECK(workloads[0].layout == Layout::nchw);
  CHECK(label_of(workloads[0]) == "2x3x4x5");
}

TEST_CASE("a sweep has odd numbers of samples, every number of channels in every size of planes") {
  const auto workloads = workloads_of({.sweep = true});
  const auto has = [&](const auto& is_right) { return std::ranges::any_of(workloads, is_right); };
  constexpr std::int64_t most_elements = 1 << 23;
  for (const Layout layout : {Layout::nhwc, Layout::nchw})
    for (const std::int64_t channels : {1, 3, 17, 1000})
      for (const auto& [height, width] :
           {std::pair{1, 1}, {7, 7}, {13, 15}, {56, 56}, {224, 224}}) {
        const std::int64_t h = height, w = width;
        CAPTURE(channels, h, w);
        CHECK(has([=](const Workload& workload) {
                const Shape& extents = workload.extents;
                return workload.layout == layout && extents[1] == channels && extents[2] == h &&
                       extents[3] == w;
              }) == (channels * h * w <= most_elements));
      }
  for (const Workload& workload : workloads) {
    CHECK(workload.extents[0] % 2 == 1);
    CHECK(workload.num_bytes() <= 64.0 * 1024.0 * 1024.0);
  }
}
