// Statistics of all training samples in place of moving ones.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("precise statistics do not remember momentum, batches of training or ranks") {
  const std::string precise = small + "--steps 5 --precise-statistics --bn-momentum ";
  const auto records = records_of(precise + "0.9");
  REQUIRE(records.size() == 2);
  CHECK(records[1].at("schema") == "lockstep.precise.1");
  const auto loss = records[1].at("validation_loss").get<double>();
  CHECK(loss < records[0].at("validation_loss"));
  CHECK(last("validation_loss", precise + "0.5") == loss);
  CHECK(last("validation_loss", precise + "0.5", 3) == Approx(loss).epsilon(1e-5));
}

TEST_CASE("precise statistics are a line of text, and of the metrics") {
  const TemporaryFolder folder;
  const Outcome outcome =
      outcome_of({small + "--precise-statistics --quiet --out run", 2}, folder.path());
  CHECK(outcome.exit_code == 0);
  const auto lines = lines_of(outcome.output);
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[1], Catch::StartsWith("precise statistics  validation loss "));
  CHECK(records_in(content_of(folder / "run" / "metrics.jsonl")).size() == 2);
  const auto configuration = nlohmann::json::parse(content_of(folder / "run" / "config.json"));
  CHECK(configuration.at("precise_statistics") == true);
}
