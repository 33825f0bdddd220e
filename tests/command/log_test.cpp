// Where there is no terminal, long epochs are not silent.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("every 30 seconds a line of progress goes to standard error") {
  // The run is stopped meanwhile: time passes, and the processor is others'.
  const Outcome outcome =
      outcome_of({.arguments = "train --data synthetic:blobs --model mlp --epochs 1000000000",
                  .around = "{} & run=$!; sleep 2; kill -STOP $run; sleep 30; kill -CONT $run\n"
                            "sleep 2; kill -KILL $run; wait $run 2>/dev/null; true"});
  CAPTURE(outcome.error);
  CHECK(outcome.exit_code == 0);
  const auto lines = lines_of(outcome.error);
  REQUIRE(lines.size() == 3);  // after the header
  CHECK_THAT(lines[2], Catch::StartsWith("step ") && Catch::Contains("/32000000000  loss ") &&
                           Catch::Contains(" samples/s  communication 0%  ") &&
                           Catch::EndsWith(" h left"));
  CHECK(outcome.output.find("step ") == std::string::npos);
}
