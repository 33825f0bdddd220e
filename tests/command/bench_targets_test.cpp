// For which shapes and ranks the benchmark has which targets.

#include "bench/row.hpp"
#include "bench/targets.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

double limit(std::string_view what, const Workload& workload, int num_ranks,
             double local_seconds = 0.0) {
  const auto target = target_of(what, workload, num_ranks, local_seconds);
  return target ? target->limit : 0.0;
}

const Shape large{32, 64, 56, 56};
const Shape small{8, 16, 8, 8};

}  // namespace

TEST_CASE("targets depend on layout, size, ranks and dtype") {
  CHECK(limit("forward", {large, Layout::nhwc}, 1) == 1.15);
  CHECK(limit("forward", {large, Layout::nchw}, 1) == 1.0);
  CHECK(limit("forward", {large, Layout::nchw}, 2) == 0.9);
  CHECK(limit("backward", {large, Layout::nchw}, 2) == 0.85);
  CHECK(limit("backward", {large, Layout::nchw}, 3) == 0.0);
  CHECK(limit("forward", {small, Layout::nchw}, 1) == 0.0);
  CHECK(limit("inference", {large, Layout::nchw}, 1) == 0.0);
  CHECK(limit("forward", {large, Layout::nhwc, DType::bfloat16}, 1) == 0.0);
  CHECK(limit("forward", {{32, 2048, 7, 7}, Layout::nchw}, 1) == 1.2);
  CHECK(limit("backward", {{4096, 1024}, Layout::nc}, 2) == 1.3);
  CHECK(target_of("forward", {{256, 64}, Layout::nc}, 1, 0.0)->of == Target::Of::microseconds);
}

TEST_CASE("being synchronized is judged by ratios where calls are long, else by microseconds") {
  CHECK(limit("sync forward", {large, Layout::nhwc}, 2, 1e-3) == 1.05);
  CHECK(limit("sync forward", {large, Layout::nhwc}, 4, 1e-3) == 0.0);
  CHECK(limit("sync forward", {large, Layout::nhwc}, 2, 99e-6) == 0.0);
  CHECK(limit("sync forward", {small, Layout::nhwc}, 2, 1e-3) == 0.0);
  CHECK(limit("sync extra forward", {small, Layout::nhwc}, 2) == 1.0);
  CHECK(merge_target(1024, 2)->limit == 2.2);
  CHECK_FALSE(merge_target(1024, 3).has_value());
}

TEST_CASE("a target that is reached exactly is met") {
  Row row{.what = "forward", .microseconds = 2.5, .ratio = 1.15};
  row.target = Target{Target::Of::ratio, 1.15};
  CHECK(is_met(row) == true);
  row.target->limit = 1.14;
  CHECK(is_met(row) == false);
  row.target = Target{Target::Of::microseconds, 2.0};
  CHECK(is_met(row) == false);
  row.target.reset();
  CHECK_FALSE(is_met(row).has_value());
}
