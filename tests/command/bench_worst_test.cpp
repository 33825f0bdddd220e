// The worst ratios to the floor, and that a sweep ends with them.

#include "bench/worst.hpp"
#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

Row row_of(const char* what, const char* layout, const char* shape, double microseconds,
           double ratio, const char* against = "floor forward") {
  return {.shape = shape,
          .layout = layout,
          .what = what,
          .microseconds = microseconds,
          .against = against,
          .ratio = ratio};
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("the worst ratio of every pass and layout is said with its shape") {
  const std::vector<Row> rows{
      row_of("forward", "nhwc", "1x1", 200.0, 1.5), row_of("forward", "nhwc", "2x2", 300.0, 1.75),
      row_of("forward", "nhwc", "3x3", 400.0, 1.0), row_of("forward", "nchw", "4x4", 200.0, 1.25),
      row_of("inference", "nchw", "5x5", 9.0, 4.0)};
  CHECK(worst_ratios(rows) == Lines{"forward nchw: 1.25 times the floor, at 4x4",
                                    "forward nhwc: 1.75 times the floor, at 2x2",
                                    "inference nchw: 4.00 times the floor, at 5x5"});
  CHECK(worst_ratios({}).empty());
}

TEST_CASE("short calls do not hide the worst of the long ones") {
  CHECK(worst_ratios({row_of("forward", "nhwc", "1x1", 99.9, 5.0),
                      row_of("forward", "nhwc", "2x2", 100.0, 1.25),
                      row_of("forward", "nhwc", "3x3", 500.0, 1.5)}) ==
        Lines{"forward nhwc: 5.00 times the floor, at 1x1; from 100 us on 1.50, at 3x3"});
}

TEST_CASE("what is measured against something else than the floor is no worst") {
  Row floor{.layout = "nhwc", .what = "floor forward", .microseconds = 100.0};
  CHECK(worst_ratios({floor, row_of("relu forward", "nhwc", "1x1", 200.0, 9.0, "plain + traffic"),
                      row_of("sync forward", "nhwc", "1x1", 200.0, 9.0, "local forward")})
            .empty());
}

TEST_CASE("a sweep ends with the worst ratio of each pass in each layout") {
  const Outcome outcome = outcome_of({"bench --sweep --rounds 1 --shape 3,5,7,9"});
  CHECK(outcome.exit_code == 0);
  for (const std::string layout : {"nhwc", "nchw"})
    for (const std::string pass : {"forward", "backward", "inference"})
      CHECK(num_occurrences(outcome.output, "\n# worst " + pass + " " + layout + ": ") == 1);
  CHECK(num_occurrences(outcome.output, "\n# worst ") == 6);
  CHECK(num_occurrences(outcome.output, " times the floor, at 3x5x7x9\n") == 6);
}
