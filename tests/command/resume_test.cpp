// A run that was killed goes on to the files of one that was not, bit for bit.

#include <algorithm>
#include <filesystem>

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string cnn =
    "train --model cnn --batch 256 --steps 24 --momentum 0.9 --schedule step:0.5:5 --save-every 3 "
    "--seed 4 --quiet --out run";
const std::string blobs = small + "--save-every 4 --quiet --out run";

std::string newest_of(const TemporaryFolder& folder) {
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "run" / "checkpoints"))
    if (const std::string name = entry.path().filename().string(); name.starts_with("step_"))
      newest = std::max(newest, name);
  return newest;
}

std::string content_of_newest(const TemporaryFolder& folder) {
  return content_of(folder / "run" / "checkpoints" / newest_of(folder));
}

}  // namespace

TEST_CASE("a run that was killed and resumed leaves the checkpoint of one that was not") {
  for (const int num_ranks : {0, 2}) {
    CAPTURE(num_ranks);
    const TemporaryFolder unbroken, broken;
    REQUIRE(outcome_of({cnn, num_ranks}, unbroken.path()).exit_code == 0);

    // The last rank dies when there is a checkpoint.
    const std::string killer =
        "test $rank = " + std::to_string(std::max(num_ranks - 1, 0)) +
        " && (until ls run/checkpoints/step* >/dev/null 2>&1; do sleep 0.01; done; kill -9 $$) &";
    const Outcome killed = outcome_of({cnn, num_ranks, killer}, broken.path());
    REQUIRE(killed.exit_code == 137);
    REQUIRE(newest_of(broken) != newest_of(unbroken));
    const Outcome resumed = outcome_of({cnn + " --resume", num_ranks}, broken.path());
    CAPTURE(resumed.error);
    REQUIRE(resumed.exit_code == 0);
    CHECK(newest_of(broken) == "step_00000024.safetensors");
    CHECK(content_of_newest(broken) == content_of_newest(unbroken));
  }
}

TEST_CASE("a run that was stopped saves, says how to go on, and does so bit for bit") {
  const TemporaryFolder unbroken, stopped;
  REQUIRE(outcome_of({cnn}, unbroken.path()).exit_code == 0);
  const std::string stopper =
      "(until ls run/checkpoints/step* >/dev/null 2>&1; do sleep 0.01; done; kill -USR1 $$) &";
  const Outcome stop = outcome_of({.arguments = cnn, .preamble = stopper}, stopped.path());
  CAPTURE(stop.error);
  REQUIRE(stop.exit_code == 75);
  CHECK_THAT(stop.error,
             Catch::Contains("to go on: lockstep train --config run/config.json --resume\n"));
  REQUIRE(outcome_of({"train --config run/config.json --resume"}, stopped.path()).exit_code == 0);
  CHECK(newest_of(stopped) == "step_00000024.safetensors");
  CHECK(content_of_newest(stopped) == content_of_newest(unbroken));
}

TEST_CASE("a run goes on where it ended, on any number of ranks, with its metrics") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({small + "--epochs 2 --out run", 2}, folder.path()).exit_code == 0);
  const std::string first = content_of(folder / "run" / "metrics.jsonl");
  const Outcome longer =
      outcome_of({"train --config run/config.json --epochs 4 --resume", 3}, folder.path());
  CAPTURE(longer.error);
  REQUIRE(longer.exit_code == 0);
  CHECK_THAT(longer.error, Catch::Contains("resumed from run/checkpoints/step_00000064"));
  const std::string all = content_of(folder / "run" / "metrics.jsonl");
  CHECK_THAT(all, Catch::StartsWith(first));
  const auto records = records_in(all);
  REQUIRE(records.size() == 4);
  for (std::size_t i = 0; i < records.size(); ++i) CHECK(records[i].at("epoch") == i + 1);
  CHECK(num_occurrences(content_of(folder / "run" / "curves.svg"), ">2<") > 0);  // a tick

  const Outcome done = outcome_of({"train --config run/config.json --resume"}, folder.path());
  CHECK(done.exit_code == 0);
  CHECK(done.output.empty());
}

TEST_CASE("a file may be resumed, also without a run folder") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({blobs}, folder.path()).exit_code == 0);
  const std::string file = "run/checkpoints/step_00000028.safetensors";
  const Outcome resumed = outcome_of({small + "--resume " + file}, folder.path());
  CHECK(resumed.exit_code == 0);
  CHECK_THAT(resumed.error, Catch::Contains("resumed from " + file + " (step 28)"));
}

TEST_CASE("a run that is to be resumed but has no checkpoint begins") {
  const TemporaryFolder folder;
  const Outcome outcome = outcome_of({small + "--out run --resume", 2}, folder.path());
  CHECK(outcome.exit_code == 0);
  CHECK_THAT(outcome.error, Catch::Contains("no checkpoint yet: training begins"));
}

TEST_CASE("a new run does not go over the checkpoints of an earlier one") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({blobs}, folder.path()).exit_code == 0);
  const std::string before = content_of_newest(folder);
  const Outcome outcome = outcome_of({blobs, 2}, folder.path());
  CHECK(outcome.exit_code == 2);
  CHECK_THAT(outcome.error, Catch::Contains("checkpoints of an earlier run, up to step 32"));
  CHECK(content_of_newest(folder) == before);
}

TEST_CASE("a checkpoint that cannot be used has an exit code of its own") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({blobs}, folder.path()).exit_code == 0);
  set_content(folder / "file", "nonsense");
  const auto refuse = [&](const std::string& arguments, const std::string& reason,
                          const std::vector<int>& counts = {0}) {
    for (const int num_ranks : counts) {
      const Outcome outcome = outcome_of({arguments, num_ranks}, folder.path());
      CAPTURE(arguments, num_ranks, outcome.error);
      CHECK(outcome.exit_code == 4);
      CHECK(num_occurrences(outcome.error, reason) == 1);
      CHECK(num_occurrences(outcome.error, "lockstep: ") == 1);
    }
  };
  refuse(small + "--resume file", "file cannot be read as safetensors", {0, 2});
  refuse(small + "--resume missing", "missing: No such file");
  refuse(small + "--optimizer adam --out run --resume",
         "missing: optimizer:dense/kernel/first_moment", {2});
  refuse("train --data synthetic:images --out run --resume", "missing: conv2d/kernel");
  for (const auto& entry : std::filesystem::directory_iterator(folder / "run" / "checkpoints"))
    if (!entry.is_symlink()) std::filesystem::resize_file(entry.path(), 1000);
  refuse(blobs + " --resume", "none of the checkpoints in run/checkpoints is whole");
  require_refusal(small + "--resume", "--resume: there is no run folder");
}

TEST_CASE("a damaged checkpoint is passed over and named") {
  const TemporaryFolder folder;
  REQUIRE(outcome_of({blobs}, folder.path()).exit_code == 0);
  std::filesystem::resize_file(folder / "run" / "checkpoints" / newest_of(folder), 1000);
  const Outcome outcome =
      outcome_of({small + "--epochs 2 --save-every 4 --out run --resume", 2}, folder.path());
  CHECK(outcome.exit_code == 0);
  CHECK_THAT(outcome.error,
             Catch::Contains("passed over: run/checkpoints/step_00000032.safetensors") &&
                 Catch::Contains("resumed from run/checkpoints/step_00000028.safetensors"));
}

TEST_CASE("a run that fails says where it can go on") {
  const TemporaryFolder folder;
  const Outcome outcome =
      outcome_of({small + "--lr 1e30 --save-every 1 --out run", 2}, folder.path());
  CHECK(outcome.exit_code == 3);
  CHECK_THAT(outcome.error,
             Catch::Contains("newest checkpoint: run/checkpoints/step_0000000") &&
                 Catch::Contains("to go on: mpirun -n 2 lockstep train --config run/config.json "
                                 "--resume\n"));
}

TEST_CASE("a checkpoint that cannot be saved ends the run, or is told") {
  for (const int num_ranks : {0, 2}) {
    CAPTURE(num_ranks);
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder / "run" / "checkpoints" / "latest");
    const Outcome stopped = outcome_of({blobs, num_ranks}, folder.path());
    CAPTURE(stopped.error);
    CHECK(stopped.exit_code == 1);
    CHECK(num_occurrences(stopped.error, "cannot replace run/checkpoints/latest: ") == 1);
    CHECK(num_occurrences(stopped.error, "newest checkpoint: ") == 1);
    const Outcome told =
        outcome_of({blobs + " --resume --save-failure warn", num_ranks}, folder.path());
    CAPTURE(told.error);
    CHECK(told.exit_code == 0);
    CHECK(num_occurrences(told.error, "no checkpoint was saved: cannot replace") == 9);
  }
}
