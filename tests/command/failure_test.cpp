// A run that fails says why in one block, and every rank leaves a file.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

// Its first step makes parameters that the second cannot use.
const std::string diverging = small + "--lr 1e30 --steps 9 ";

nlohmann::json error_file(const TemporaryFolder& folder, int rank) {
  return nlohmann::json::parse(
      content_of(folder / "run" / "errors" / ("rank_000" + std::to_string(rank) + ".json")));
}

}  // namespace

TEST_CASE("a failure is one block, last on standard error, and a file of each rank") {
  for (const int num_ranks : {0, 3}) {
    const TemporaryFolder folder;
    const Outcome outcome = outcome_of({diverging + "--out run --quiet", num_ranks}, folder.path());
    CAPTURE(num_ranks, outcome.error);
    REQUIRE(outcome.exit_code == 3);
    const auto lines = lines_of(outcome.error);
    REQUIRE(lines.size() >= (num_ranks == 0 ? 3 : 4));
    const std::string rank = num_ranks == 0 ? "" : "rank ";
    CHECK_THAT(lines[0], Catch::StartsWith("lockstep: " + rank));
    CHECK_THAT(lines[0], Catch::Contains(", step 1"));
    std::size_t next = 1;
    if (num_ranks > 0) CHECK(lines[next++] == "all 3 ranks ended with this error");
    CHECK(lines[next++] == "nothing of the step that failed is left in the model");
    CHECK(lines[next++] == "more, of each rank: run/errors");
    for (int i = 0; i < std::max(num_ranks, 1); ++i) {
      const auto file = error_file(folder, i);
      CHECK(file.at("schema") == "lockstep.error.1");
      CHECK(file.at("rank") == i);
      CHECK(file.at("ranks") == std::max(num_ranks, 1));
      CHECK(file.at("kind") == "non_finite");
      CHECK(file.at("on_all_ranks") == true);
      CHECK("lockstep: " + file.at("message").get<std::string>() == lines[0]);
      CHECK(file.at("origin").at("step") == 1);
      CHECK(file.at("origin").at("is_here") == (file.at("origin").at("rank") == i));
    }
  }
}

TEST_CASE("a later run removes the error files of an earlier one, and no other") {
  for (const bool has_other : {false, true}) {
    const TemporaryFolder folder;
    const auto errors = folder / "run" / "errors";
    REQUIRE(outcome_of({diverging + "--out run", 2}, folder.path()).exit_code == 3);
    REQUIRE(std::filesystem::exists(errors / "rank_0001.json"));
    if (has_other) set_content(errors / "notes", "");
    REQUIRE(outcome_of({small + "--out run"}, folder.path()).exit_code == 0);
    CHECK_FALSE(std::filesystem::exists(errors / "rank_0001.json"));
    CHECK(std::filesystem::exists(errors) == has_other);
  }
}

TEST_CASE("what has to be changed by the user is no failure of a run") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({"train --data idx:nowhere --out run", 2}, folder.path()).exit_code == 2);
  CHECK_FALSE(std::filesystem::exists(folder / "run" / "errors"));
}

TEST_CASE("an error that one rank alone has is kept in its file") {
  const TemporaryFolder folder;
  const std::string fault = "export LD_PRELOAD=" LOCKSTEP_MPI_FAULTS
                            " MPI_FAULT='rank=1 call=allreduce nth=30 do=error:16'";
  const Outcome outcome = outcome_of({small + "--out run", 2, fault}, folder.path());
  CAPTURE(outcome.error);
  CHECK(outcome.exit_code != 0);
  const auto file = error_file(folder, 1);
  CHECK(file.at("kind") == "communication");
  CHECK(file.at("on_all_ranks") == false);
  CHECK_FALSE(file.contains("origin"));
}
