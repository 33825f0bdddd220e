// Training is the same on any number of ranks, and every option has its effect.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

std::vector<nlohmann::json> records_of(const std::string& arguments, int num_ranks = 0) {
  const Outcome outcome = outcome_of({arguments + " --json", num_ranks});
  CAPTURE(arguments, num_ranks, outcome.error);
  REQUIRE(outcome.exit_code == 0);
  const auto records = records_in(outcome.output);
  REQUIRE_FALSE(records.empty());
  return records;
}

double last(const std::string& field, const std::string& arguments, int num_ranks = 0) {
  return records_of(arguments, num_ranks).back().at(field).get<double>();
}

}  // namespace

TEST_CASE("losses do not depend on the number of ranks") {
  for (const std::string arguments :
       {"train --data synthetic:blobs --model mlp --epochs 2 --batch 50",
        "train --data synthetic:images --model cnn --batch 17 --steps 4"}) {
    const auto alone = records_of(arguments);
    for (const int num_ranks : {1, 2, 3}) {
      const auto records = records_of(arguments, num_ranks);
      REQUIRE(records.size() == alone.size());
      for (std::size_t i = 0; i < records.size(); ++i)
        for (const std::string field : {"loss", "validation_loss"}) {
          CAPTURE(arguments, num_ranks, field);
          CHECK(records[i].at(field).get<double>() ==
                Approx(alone[i].at(field).get<double>()).epsilon(1e-5));
        }
    }
  }
}

TEST_CASE("statistics of each rank alone are something else, but not on one rank") {
  const double synchronized = last("loss", small, 2);
  CHECK(last("loss", small + "--no-sync", 2) != Approx(synchronized).epsilon(1e-3));
  CHECK(last("loss", small + "--no-sync") == last("loss", small));
}

TEST_CASE("digits are learned") {
  CHECK(last("validation_accuracy",
             "train --data idx:" LOCKSTEP_DIGITS_FOLDER " --model mlp --epochs 3", 2) > 0.85);
}

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

TEST_CASE("ranks without samples take part") {
  CHECK(last("loss", small + "--batch 1 --steps 3", 3) ==
        Approx(last("loss", small + "--batch 1 --steps 3")).epsilon(1e-5));
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
