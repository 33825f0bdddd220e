// Flag before environment before default; rank 0 decides for all.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string brief = "train --data synthetic:blobs --model mlp --quiet ";

std::size_t num_epochs(const Run& run) {
  const Outcome outcome = outcome_of(run);
  CAPTURE(outcome.error);
  REQUIRE(outcome.exit_code == 0);
  return lines_of(outcome.output).size();
}

nlohmann::json configuration_of(const Run& run) {
  const TemporaryFolder folder;
  REQUIRE(outcome_of(run, folder.path()).exit_code == 0);
  return nlohmann::json::parse(content_of(folder / "run" / "config.json"));
}

}  // namespace

TEST_CASE("a flag goes before a variable, and a variable before the default") {
  CHECK(num_epochs({.arguments = brief}) == 5);
  CHECK(num_epochs({.arguments = brief, .preamble = "export LOCKSTEP_EPOCHS="}) == 5);
  CHECK(num_epochs({.arguments = brief, .preamble = "export LOCKSTEP_EPOCHS=2"}) == 2);
  for (const std::string value : {"2", "nonsense"})
    CHECK(num_epochs({.arguments = brief + "--epochs 3",
                      .preamble = "export LOCKSTEP_EPOCHS=" + value}) == 3);
}

TEST_CASE("every option can be given as a variable") {
  const auto by_flags = configuration_of(
      {.arguments =
           "train --data synthetic:blobs --model mlp --dtype bfloat16 --batch 32 --epochs "
           "2 --steps 3 "
           "--lr 0.25 --momentum 0.5 --bn-momentum 0.75 --optimizer adam --no-sync "
           "--seed 7 --out run --save-every 2 --keep 4 --save-failure warn --schedule step:0.5:2 "
           "--json --quiet"});
  const auto by_variables = configuration_of(
      {.arguments = "train",
       .preamble = "export LOCKSTEP_DATA=synthetic:blobs LOCKSTEP_MODEL=mlp "
                   "LOCKSTEP_DTYPE=bfloat16 LOCKSTEP_BATCH=32 "
                   "LOCKSTEP_EPOCHS=2 LOCKSTEP_STEPS=3 LOCKSTEP_LR=0.25 LOCKSTEP_MOMENTUM=0.5 "
                   "LOCKSTEP_BN_MOMENTUM=0.75 LOCKSTEP_OPTIMIZER=adam LOCKSTEP_SYNC=false "
                   "LOCKSTEP_SEED=7 LOCKSTEP_OUT=run LOCKSTEP_SAVE_EVERY=2 LOCKSTEP_KEEP=4 "
                   "LOCKSTEP_SAVE_FAILURE=warn LOCKSTEP_SCHEDULE=step:0.5:2 LOCKSTEP_JSON=true "
                   "LOCKSTEP_QUIET=1"});
  CHECK(by_flags == by_variables);
  const auto by_default = configuration_of(
      {.arguments = "train --steps 1 --data synthetic:blobs --model mlp --out run"});
  for (const std::string key : {"dtype", "batch", "epochs", "learning_rate", "momentum",
                                "bn_momentum", "optimizer", "synchronized", "seed", "save_every",
                                "keep", "save_failure", "schedule", "json", "quiet"}) {
    CAPTURE(key);
    CHECK(by_flags.at(key) != by_default.at(key));
  }
  const auto overruled = configuration_of(
      {.arguments = small + "--sync --out run", .preamble = "export LOCKSTEP_SYNC=false"});
  CHECK(overruled.at("synchronized") == true);
}

TEST_CASE("a variable that cannot be used is refused by its name") {
  require_refusal("train", "LOCKSTEP_BATCH: --batch: expected a whole number from 1 to",
                  "export LOCKSTEP_BATCH=0");
  require_refusal("train", "LOCKSTEP_LR: --lr: expected a finite number", "export LOCKSTEP_LR=nan");
  require_refusal("train", "LOCKSTEP_SYNC: ", "export LOCKSTEP_SYNC=maybe");
}

TEST_CASE("rank 0 reads arguments and variables for all ranks") {
  CHECK(num_epochs({brief, 2, "test $rank = 0 && export LOCKSTEP_EPOCHS=2"}) == 2);
  CHECK(num_epochs({brief, 2, "test $rank = 1 && export LOCKSTEP_EPOCHS=nonsense"}) == 5);
  CHECK(num_epochs(
            {brief + "$more", 2, "test $rank = 0 && more='--epochs 1' || more='--batch 0'"}) == 1);
}
