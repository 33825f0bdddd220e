// Unknown names are refused with one message and exit code 2; help is no error.

#include "command/command.hpp"
#include "lockstep/base/version.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("names must be known") {
  require_refusal("train --model vgg", "--model: vgg not in {mlp,cnn,resnet}");
  require_refusal("train --dtype int64", "--dtype: int64 not in");
  require_refusal("train --optimizer lion", "--optimizer: lion not in {sgd,adam}");
  require_refusal("train --fast", "not expected: --fast");
  require_refusal("train now", "not expected: now");
  require_refusal("", "subcommand is required");
}

TEST_CASE("all ranks end with the same exit code") {
  const TemporaryFolder folder;
  const std::string refused = LOCKSTEP_COMMAND " train --batch 0; echo $? >code$rank";
  (void)outcome_of({.arguments = "--version", .num_ranks = 3, .preamble = refused + "; exit 0"},
                   folder.path());
  for (const std::string rank : {"0", "1", "2"})
    CHECK(content_of(folder / ("code" + rank)) == "2\n");
}

TEST_CASE("the last one counts of an option that is given twice") {
  const Outcome outcome = outcome_of({small + "--epochs 2 --epochs 3 --json --quiet"});
  CHECK(outcome.exit_code == 0);
  CHECK(records_in(outcome.output).size() == 3);
}

TEST_CASE("help and version are said once, and are no errors") {
  for (const int num_ranks : {0, 2}) {
    const Outcome version = outcome_of({"--version", num_ranks});
    CHECK(version.exit_code == 0);
    CHECK(version.output == LOCKSTEP_VERSION "\n");
    CHECK(version.error.empty());
    for (const std::string arguments : {"--help", "train --help"}) {
      const Outcome help = outcome_of({arguments, num_ranks});
      CHECK(help.exit_code == 0);
      CHECK(num_occurrences(help.output, "Usage: lockstep") == 1);
      CHECK(help.error.empty());
    }
  }
}
