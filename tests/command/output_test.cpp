// Results go to standard output, everything else to standard error, said once by rank 0.

#include "command/command.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/comm/environment.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string two_epochs = small + "--epochs 2 --batch 48 ";

// One line per epoch, and nothing that only a terminal understands.
void require_epoch_lines(const std::string& output) {
  const auto lines = lines_of(output);
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[0], Catch::StartsWith("epoch 1/2  loss "));
  CHECK_THAT(lines[1], Catch::StartsWith("epoch 2/2  loss "));
  for (const std::string part :
       {"  accuracy ", "  validation loss ", " samples/s", "communication "})
    CHECK(num_occurrences(output, part) >= 2);
  CHECK(output.find('\033') == std::string::npos);
}

}  // namespace

TEST_CASE("a run has a header and one line per epoch") {
  for (const int num_ranks : {0, 1, 2, 3}) {
    const Outcome outcome = outcome_of({two_epochs, num_ranks});
    CAPTURE(num_ranks, outcome.error);
    CHECK(outcome.exit_code == 0);
    require_epoch_lines(outcome.output);
    const auto header = lines_of(outcome.error);
    REQUIRE(header.size() == 2);
    CHECK(header[0] == std::string("lockstep " LOCKSTEP_VERSION " on ") +
                           (num_ranks > 1 ? std::to_string(num_ranks) + " ranks" : "1 rank") +
                           " of 1 host (" + lockstep::host_name() + "), " +
                           lockstep::mpi_version());
    CHECK(header[1] == "mlp on synthetic:blobs, global batch 48, synchronized batch normalization");
  }
}

TEST_CASE("a quiet run says its results only") {
  for (const int num_ranks : {0, 2}) {
    const Outcome outcome = outcome_of({two_epochs + "--quiet", num_ranks});
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.error.empty());
    require_epoch_lines(outcome.output);
  }
}

TEST_CASE("JSON Lines are records of one schema, with nothing between them") {
  for (const int num_ranks : {0, 2}) {
    const Outcome outcome = outcome_of({two_epochs + "--json", num_ranks});
    CAPTURE(num_ranks);
    CHECK(outcome.exit_code == 0);
    CHECK_FALSE(outcome.error.empty());
    const auto records = records_in(outcome.output);
    REQUIRE(records.size() == 2);
    for (std::size_t i = 0; i < records.size(); ++i) {
      CHECK(records[i].at("schema") == "lockstep.epoch.1");
      CHECK(records[i].at("epoch") == i + 1);
      CHECK(records[i].at("step") == 43 * (i + 1));  // 2048 / 48, rounded up
      CHECK(records[i].at("samples_per_second") > 0.0);
      const auto share = records[i].at("communication_share").get<double>();
      CHECK(share <= 1.0);
      CHECK((share > 0.0) == (num_ranks > 1));
      for (const std::string field : {"accuracy", "validation_accuracy"}) {
        CHECK(records[i].at(field) >= 0.0);
        CHECK(records[i].at(field) <= 1.0);
      }
    }
  }
}

TEST_CASE("a result that cannot be written is an error") {
  const Outcome outcome = outcome_of({.arguments = small, .around = "{} >/dev/full"});
  CHECK(outcome.exit_code == 1);
  CHECK(num_occurrences(outcome.error, "cannot write to standard output") == 1);
}

TEST_CASE("a run needs no standard error") {
  CHECK(outcome_of({.arguments = small, .around = "{} 2>&-"}).exit_code == 0);
}
