// How the benchmark writes what it has measured.

#include "bench/onednn_candidates.hpp"
#include "command/command.hpp"
#include "lockstep/base/version.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string brief = "bench --rounds 1 --shape 3,5,7,9 --layout nchw ";

// Measures of the layer, of the floor and, where it is installed, of oneDNN.
const int num_measures = has_onednn() ? 14 : 12;

}  // namespace

TEST_CASE("a table for people has comments, heads and a summary") {
  const Outcome outcome = outcome_of({brief});
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.error.empty());
  const auto lines = lines_of(outcome.output);
  CHECK_THAT(lines.front(), Catch::StartsWith("# lockstep " LOCKSTEP_VERSION " on 1 rank of "));
  CHECK(num_occurrences(outcome.output, "\n# shape ") == 1);
  CHECK(num_occurrences(outcome.output, "\n3x5x7x9 ") == num_measures);
  CHECK(num_occurrences(outcome.output, "\n# onednn: no rows") == (has_onednn() ? 0 : 1));
  CHECK(num_occurrences(outcome.output, "\n# targets: ") == 1);
  CHECK(lines.back() == "# wrong: 0");
}

TEST_CASE("comma-separated values are as many in every line") {
  const Outcome outcome = outcome_of({brief + "--csv"});
  CHECK(outcome.exit_code == 0);
  CHECK_FALSE(outcome.error.empty());
  const auto lines = lines_of(outcome.output);
  CHECK(lines.front() ==
        "shape,layout,dtype,what,microseconds,spread,against,ratio,target,target_of,met,wrong");
  CHECK(lines.size() == static_cast<std::size_t>(num_measures) + 2);
  CHECK(lines.back().starts_with("\"cnn, batch 64\",,float32,step,"));
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) CHECK(num_occurrences(lines[i], ",") == 11);
}

TEST_CASE("a quiet benchmark writes measures only") {
  for (const std::string format : {"", "--csv", "--json"}) {
    const int num_heads = format == "--json" ? 0 : 1;
    const Outcome outcome = outcome_of({brief + "--quiet " + format});
    CHECK(outcome.error.empty());
    CHECK(num_occurrences(outcome.output, "\n") == num_measures + 1 + num_heads);
  }
}

TEST_CASE("a measure that cannot be written is an error") {
  const Outcome outcome = outcome_of({.arguments = brief, .around = "{} >/dev/full"});
  CHECK(outcome.exit_code == 1);
  CHECK(num_occurrences(outcome.error, "cannot write to standard output") == 1);
}
