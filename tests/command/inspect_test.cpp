// What a checkpoint holds, whether it is whole, and how it differs from another.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

// A folder with checkpoints of 16 and 32 steps.
struct Fixture {
  Fixture() {
    const Outcome outcome = outcome_of({small + "--save-every 16 --out run"}, folder.path());
    REQUIRE(outcome.exit_code == 0);
  }

  Outcome inspect(const std::string& arguments, int num_ranks = 0) const {
    return outcome_of({"inspect " + arguments, num_ranks}, folder.path());
  }

  TemporaryFolder folder;
  const std::string first = "run/checkpoints/step_00000016.safetensors";
  const std::string second = "run/checkpoints/step_00000032.safetensors";
};

}  // namespace

TEST_CASE("a checkpoint is shown and verified") {
  const Fixture f;
  for (const int num_ranks : {0, 2}) {
    const Outcome outcome = f.inspect("run/checkpoints/latest", num_ranks);
    CAPTURE(num_ranks, outcome.error);
    CHECK(outcome.exit_code == 0);
    for (const std::string part :
         {"lockstep.kind = checkpoint\n", "lockstep.version = ", "dense.weight",
          "batch_normalization.running_var", "optimizer:dense/kernel/velocity",
          "every byte is as it was written\n"})
      CHECK(num_occurrences(outcome.output, part) == 1);
  }
  const auto json = nlohmann::json::parse(f.inspect(f.first + " --json").output);
  CHECK(json.at("has_checksums") == true);
  CHECK(json.at("metadata").at("lockstep.ranks") == "1");
  bool has_kernel = false;
  for (const auto& tensor : json.at("tensors"))
    if (tensor.at("name") == "dense.weight") {
      has_kernel = true;
      CHECK(tensor.at("shape") == std::vector{64, 16});
      CHECK(tensor.at("dtype") == "float32");
      CHECK(tensor.at("bytes") == 64 * 16 * 4);
    }
  CHECK(has_kernel);
}

TEST_CASE("two checkpoints are compared") {
  const Fixture f;
  const Outcome outcome = f.inspect(f.first + " " + f.second);
  CHECK(outcome.exit_code == 0);
  CHECK_THAT(outcome.output, Catch::Contains("trainer:num_steps: 1 of 1 elements differ\n") &&
                                 Catch::Contains("dense.weight: ") &&
                                 Catch::Contains("lockstep.validation_loss: only in the second"));
  CHECK(num_occurrences(outcome.output, "lockstep.model") == 0);
  CHECK(f.inspect(f.first + " " + f.first).output == "the files hold the same\n");
}

TEST_CASE("a file that cannot be used has its reason and an exit code of its own") {
  const Fixture f;
  std::string damaged = content_of(f.folder / f.first);
  damaged.back() ^= 1;
  set_content(f.folder / f.first, damaged);
  for (const int num_ranks : {0, 2})
    for (const std::string& arguments : {f.first, f.second + " " + f.first}) {
      const Outcome outcome = f.inspect(arguments, num_ranks);
      CHECK(outcome.exit_code == 4);
      CHECK(outcome.output.empty());
      CHECK(num_occurrences(outcome.error, "is damaged: its checksum is") == 1);
    }
  CHECK(f.inspect("missing").exit_code == 4);
  CHECK(f.inspect("").exit_code == 2);
}
