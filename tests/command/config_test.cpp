// Options from a file: after flags and variables, before defaults.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

// Requires that a run alone is refused with this message, said once.
void require_refusal_alone(const std::string& arguments, const std::string& message) {
  const Outcome outcome = outcome_of({arguments});
  CAPTURE(arguments, outcome.error);
  CHECK(outcome.exit_code == 2);
  CHECK(outcome.output.empty());
  CHECK(num_occurrences(outcome.error, message) == 1);
  CHECK(num_occurrences(outcome.error, "lockstep: ") == 1);
}

nlohmann::json resolved(const Run& run, const TemporaryFolder& folder) {
  const Outcome outcome = outcome_of(run, folder.path());
  CAPTURE(outcome.error);
  REQUIRE(outcome.exit_code == 0);
  return nlohmann::json::parse(outcome.output);
}

}  // namespace

TEST_CASE("a flag goes before a variable, that before the file, and that before the default") {
  const TemporaryFolder folder;
  set_content(folder / "file.json", R"({"epochs": 3, "batch": 32, "lr": 0.5, "sync": false})");
  const auto options = resolved({.arguments = "train --dry-run --config file.json --epochs 5",
                                 .preamble = "export LOCKSTEP_BATCH=16 LOCKSTEP_EPOCHS=7"},
                                folder);
  CHECK(options.at("epochs") == 5);
  CHECK(options.at("batch") == 16);
  CHECK(options.at("learning_rate") == 0.5);
  CHECK(options.at("synchronized") == false);
  CHECK(options.at("model") == "cnn");
  CHECK(resolved({.arguments = "train --dry-run", .preamble = "export LOCKSTEP_CONFIG=file.json"},
                 folder)
            .at("batch") == 32);
}

TEST_CASE("the options of a run are those of the next one") {
  const TemporaryFolder folder;
  const std::string flags =
      "--data synthetic:blobs --model mlp --dtype float64 --batch 32 --epochs 2 --steps 3 --lr "
      "0.25 --schedule step:0.5:7 --momentum 0.5 --bn-momentum 0.75 --optimizer adam --no-sync "
      "--statistics fast --precise-statistics --seed 18446744073709551615 --save-every 2 --keep 4 "
      "--save-failure warn --stall-timeout 99 --nonfinite skip --drift-check 2 --quiet";
  const auto first = resolved({"train --dry-run --out run " + flags}, folder);
  REQUIRE(outcome_of({"train --out run " + flags, 2}, folder.path()).exit_code == 0);
  const auto kept = nlohmann::json::parse(content_of(folder / "run" / "config.json"));
  auto second = resolved({"train --dry-run --config run/config.json", 2}, folder);
  CHECK(second == kept);
  second["ranks"] = 1;
  CHECK(second == first);
  const auto defaults = resolved({"train --dry-run"}, folder);
  for (const auto& item : defaults.items()) {
    const bool is_free = item.key() == "schema" || item.key() == "version" ||
                         item.key() == "ranks" || item.key() == "json";
    CAPTURE(item.key());
    CHECK((first.at(item.key()) == item.value()) == is_free);
  }
}

TEST_CASE("what a file cannot say is refused, with a suggestion") {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& content, const std::string& message) {
    set_content(folder / "file.json", content);
    require_refusal_alone("train --config " + (folder / "file.json").string(), message);
  };
  refuse(R"({"epoch": 3})", "there is no option 'epoch'; did you mean 'epochs'?");
  refuse(R"({"learning-rate": 3})", "did you mean 'learning_rate'?");
  refuse(R"({"zzzzzz": 3})", "there is no option 'zzzzzz'\n");
  refuse(R"({"resume": "newest"})", "there is no option 'resume'");
  refuse(R"({"batch": 0})", "--batch: expected a whole number from 1 to");
  refuse(R"({"batch": 1.5})", "--batch: expected a whole number from 1 to");
  refuse(R"({"batch": [1]})", "'batch' cannot be an array");
  refuse(R"({"batch": null})", "'batch' cannot be null");
  refuse(R"({"sync": "maybe"})", "file.json: ");
  refuse(R"({"schema": "lockstep.config.2"})", "expected the schema lockstep.config.1");
  refuse("[]", "expected a JSON object");
  refuse("{", "expected a JSON object");
  require_refusal("train --config missing.json", "missing.json: No such file or directory");
}

TEST_CASE("a flag that is nearly one is refused with a suggestion") {
  require_refusal("train --epcohs 3", "did you mean '--epochs'?");
  require_refusal_alone("train --schedule step:0.5",
                        "--schedule: expected constant, step:FACTOR:STEPS");
  for (const std::string schedule : {"step:x:3", "step:0.5:0", "step:-1:3", "epoch:0.5:", "drop"})
    require_refusal_alone("train --schedule " + schedule, "got '" + schedule + "'");
}

TEST_CASE("a schedule has its effect, by steps and by epochs") {
  const std::string brief = small + "--steps 40 --epochs 2 --schedule ";
  const double constant = last("loss", brief + "constant");
  CHECK(last("loss", brief + "step:0.1:10") != constant);
  CHECK(last("loss", brief + "step:1:10") == constant);
  CHECK(last("loss", brief + "epoch:0.1:1") == last("loss", brief + "step:0.1:32"));
  CHECK(last("loss", brief + "epoch:0.1:1") != constant);
}
