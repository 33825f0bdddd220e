// Every option of training has its effect.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("steps end a run early, within an epoch or after several") {
  const std::string blobs = "train --data synthetic:blobs --model mlp --batch 64 --epochs 4";
  const auto within = records_of(blobs + " --steps 3");
  CHECK(within.size() == 1);
  CHECK(within.back().at("step") == 3);
  const auto later = records_of(blobs + " --steps 40", 2);
  REQUIRE(later.size() == 2);
  CHECK(later[0].at("step") == 32);
  CHECK(later[1].at("step") == 40);
}

TEST_CASE("the seed decides, and nothing else is random") {
  const std::string seeded = small + "--steps 5 --seed ";
  CHECK(last("loss", seeded + "3") == last("loss", seeded + "3"));
  CHECK(last("loss", seeded + "3") != last("loss", seeded + "4"));
}

TEST_CASE("every option of the optimizer and of the statistics has its effect") {
  const std::string brief = small + "--steps 5 ";
  const double loss = last("loss", brief);
  for (const std::string change :
       {"--lr 0.02", "--momentum 0.5", "--optimizer adam", "--batch 32"}) {
    CAPTURE(change);
    CHECK(last("loss", brief + change) != Approx(loss).epsilon(1e-4));
  }
  // Moving statistics serve inference only.
  CHECK(last("loss", brief + "--bn-momentum 0.5") == loss);
  CHECK(last("validation_loss", brief + "--bn-momentum 0.5") !=
        Approx(last("validation_loss", brief)).epsilon(1e-4));
}

TEST_CASE("every dtype trains, and each rounds in its own way") {
  const std::string brief = small + "--steps 5 --dtype ";
  const double loss = last("loss", brief + "float32");
  for (const std::string dtype : {"float64", "bfloat16", "float16"}) {
    CAPTURE(dtype);
    CHECK(last("loss", brief + dtype) != loss);
    CHECK(last("loss", brief + dtype) == Approx(loss).epsilon(0.02));
  }
}

TEST_CASE("comparing replicas changes nothing") {
  const std::string brief = small + "--steps 5 ";
  for (const int num_ranks : {0, 2})
    CHECK(last("loss", brief + "--drift-check 2", num_ranks) == last("loss", brief, num_ranks));
  require_refusal(small + "--drift-check -1", "--drift-check: expected a whole number");
}

TEST_CASE("a run may skip or pass on what is not finite") {
  for (const int num_ranks : {0, 2}) {
    // The first step makes parameters that no later one can use.
    const std::string diverging = small + "--lr 1e30 --steps 9 --json --nonfinite ";
    const Outcome skipped = outcome_of({diverging + "skip", num_ranks});
    CAPTURE(num_ranks, skipped.error);
    CHECK(skipped.exit_code == 3);
    CHECK(records_in(skipped.output).back().at("skipped_steps") == 8);
    CHECK(num_occurrences(skipped.error, "; the step is skipped") >= 8);
    const Outcome warned = outcome_of({diverging + "warn", num_ranks});
    CHECK(warned.exit_code == 3);
    CHECK(records_in(warned.output).back().at("skipped_steps") == 0);
    CHECK(num_occurrences(warned.error, "; the step goes on") >= 8);
  }
  CHECK(records_of(small + "--nonfinite skip").back().at("skipped_steps") == 0);
}

TEST_CASE("a run that diverges ends with a message and an exit code of its own") {
  for (const std::string steps : {"--steps 1", "--steps 9"})
    for (const int num_ranks : {0, 2}) {
      const Outcome outcome = outcome_of({small + "--lr 1e30 " + steps, num_ranks});
      CAPTURE(steps, num_ranks, outcome.error);
      CHECK(outcome.exit_code == 3);
      CHECK(num_occurrences(outcome.error, "lockstep: ") == 1);
    }
}
