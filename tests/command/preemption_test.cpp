// A run that is asked to end ends after a step, with an exit code of its own.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

// Starts the command, waits for its first result, does `then` to process $pid, waits for the end.
std::string around(const std::string& then) {
  return "{} >results & pid=$!; while ! test -s results; do sleep 0.05; done; " + then +
         "; wait $pid";
}

const std::string endless = small + "--epochs 1000000 --out run ";

void require_stop(const Outcome& outcome, const TemporaryFolder& folder) {
  CAPTURE(outcome.error);
  CHECK(outcome.exit_code == 75);
  CHECK(num_occurrences(outcome.error, "lockstep: stopped after step ") == 1);
  const auto records = records_in(content_of(folder / "run" / "metrics.jsonl"));
  CHECK(records.size() >= 1);
  CHECK(std::filesystem::exists(folder / "run" / "curves.svg"));
}

}  // namespace

TEST_CASE("SIGUSR1 ends a run after its step, on all ranks") {
  for (const int num_ranks : {0, 1, 3}) {
    CAPTURE(num_ranks);
    const TemporaryFolder folder;
    require_stop(
        outcome_of(
            {.arguments = endless, .num_ranks = num_ranks, .around = around("kill -USR1 $pid")},
            folder.path()),
        folder);
  }
}

TEST_CASE("SIGTERM to one rank ends all of them") {
  const TemporaryFolder folder;
  const std::string preamble = "test $rank = 1 && echo $$ >pid1";
  require_stop(outcome_of({.arguments = endless,
                           .num_ranks = 2,
                           .preamble = preamble,
                           .around = around("kill -TERM $(cat pid1)")},
                          folder.path()),
               folder);
}

TEST_CASE("a stop file does the same, and is gone afterwards") {
  for (const int num_ranks : {0, 2}) {
    CAPTURE(num_ranks);
    const TemporaryFolder folder;
    require_stop(
        outcome_of(
            {.arguments = endless, .num_ranks = num_ranks, .around = around("touch run/stop")},
            folder.path()),
        folder);
    CHECK_FALSE(std::filesystem::exists(folder / "run" / "stop"));
  }
}
