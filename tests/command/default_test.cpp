// No flag is needed for a first run, which is short and learns something.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("the command runs without any flag, within a minute") {
  const Outcome outcome = outcome_of({"train", 2});
  CAPTURE(outcome.output, outcome.error);
  CHECK(outcome.exit_code == 0);
  CHECK(lines_of(outcome.output).size() == 5);
  const auto accuracy = outcome.output.rfind("validation accuracy ");
  REQUIRE(accuracy != std::string::npos);
  CHECK(std::stod(outcome.output.substr(accuracy + 20)) > 0.9);
}
