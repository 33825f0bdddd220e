// What --out leaves behind.

#include <algorithm>
#include <iterator>

#include "command/command.hpp"
#include "lockstep/base/version.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("a run folder holds options, metrics and curves") {
  for (const int num_ranks : {0, 2}) {
    const TemporaryFolder folder;
    const Outcome outcome = outcome_of(
        {small + "--epochs 3 --batch 100 --seed 5 --json --out new/run", num_ranks}, folder.path());
    CAPTURE(num_ranks, outcome.error);
    REQUIRE(outcome.exit_code == 0);
    CHECK_THAT(outcome.error, Catch::EndsWith("curves: new/run/curves.svg\n"));
    const auto run = folder / "new" / "run";

    const auto configuration = nlohmann::json::parse(content_of(run / "config.json"));
    CHECK(configuration.at("schema") == "lockstep.config.1");
    CHECK(configuration.at("version") == LOCKSTEP_VERSION);
    CHECK(configuration.at("ranks") == std::max(num_ranks, 1));
    CHECK(configuration.at("batch") == 100);
    CHECK(configuration.at("seed") == 5);
    CHECK(configuration.at("momentum") == 0.9);
    CHECK(configuration.at("data") == "synthetic:blobs");

    CHECK(content_of(run / "metrics.jsonl") == outcome.output);
    CHECK(records_in(outcome.output).size() == 3);

    const std::string curves = content_of(run / "curves.svg");
    CHECK_THAT(curves, Catch::StartsWith("<svg ") && Catch::EndsWith("</svg>\n"));
    for (const std::string text : {">loss<", ">accuracy<", ">training<", ">validation<", ">epoch<"})
      CHECK(num_occurrences(curves, text) > 0);
    CHECK(num_occurrences(curves, "stroke-width='2'") == 4);  // a line per curve
    CHECK(std::filesystem::exists(run / "checkpoints" / "step_00000063.safetensors"));
    CHECK(std::distance(std::filesystem::directory_iterator(run), {}) == 4);
  }
}

TEST_CASE("a later run replaces the files of an earlier one, once its checkpoints are gone") {
  const TemporaryFolder folder;
  for (const std::string epochs : {"4", "1"}) {
    REQUIRE(outcome_of({small + "--out run --epochs " + epochs}, folder.path()).exit_code == 0);
    std::filesystem::remove_all(folder / "run" / "checkpoints");
  }
  CHECK(records_in(content_of(folder / "run" / "metrics.jsonl")).size() == 1);
  const std::string curves = content_of(folder / "run" / "curves.svg");
  CHECK(num_occurrences(curves, "<circle ") == 4);  // a point per curve
}

TEST_CASE("only rank 0 makes a folder") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  const Outcome outcome =
      outcome_of({small + "--out run", 2, "test $rank = 0 || cd elsewhere"}, folder.path());
  CHECK(outcome.exit_code == 0);
  CHECK(std::filesystem::exists(folder / "run" / "curves.svg"));
  CHECK(std::filesystem::is_empty(folder / "elsewhere"));
}

TEST_CASE("a name need not be UTF-8") {
  const TemporaryFolder folder;
  const Outcome outcome = outcome_of({small + "--out \"$(printf 'r\\377n')\"", 2}, folder.path());
  CHECK(outcome.exit_code == 0);
  const auto configuration = nlohmann::json::parse(content_of(folder / "r\377n" / "config.json"));
  CHECK(configuration.at("out") == "r\uFFFDn");
}

TEST_CASE("a folder that cannot be made is refused before anything else is said") {
  const TemporaryFolder folder;
  set_content(folder / "file", "");
  for (const std::string name : {"file", "file/run"})
    require_refusal(small + "--out " + (folder / name).string(), "--out: cannot make the folder ");
}

TEST_CASE("a folder that cannot be written to is refused before training") {
  const TemporaryFolder folder;
  for (const std::string name : {"config.json", "metrics.jsonl", "curves.svg"}) {
    const auto run = folder / ("no_" + name);
    std::filesystem::create_directories(run / name);
    require_refusal(small + "--out " + run.string(), (run / name).string());
  }
}
