// What the benchmark refuses, with one message and exit code 2.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("shapes, layouts and counts that cannot be used are refused") {
  require_refusal(
      "bench --shape 8,4,2,x",
      "--shape: expected N,C,H,W or N,C of whole numbers from 1, at most 2^32 elements, "
      "got '8,4,2,x'");
  require_refusal("bench --layout hwcn", "--layout: hwcn not in {nhwc,nchw,all}");
  require_refusal("bench --rounds -1", "--rounds: expected a whole number from 0 to");
  require_refusal("bench --csv --json", "excludes");
}
