// Training is the same on any number of ranks.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("losses do not depend on the number of ranks") {
  for (const std::string arguments :
       {"train --data synthetic:blobs --model mlp --epochs 2 --batch 50",
        "train --data synthetic:images --model cnn --batch 17 --steps 4",
        "train --data synthetic:images --model resnet --batch 17 --steps 4"}) {
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

TEST_CASE("ranks without samples take part") {
  CHECK(last("loss", small + "--batch 1 --steps 3", 3) ==
        Approx(last("loss", small + "--batch 1 --steps 3")).epsilon(1e-5));
}
