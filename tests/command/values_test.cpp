// Values that cannot be used are refused with one message and exit code 2.

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

TEST_CASE("counts must be whole and in range") {
  require_refusal("train --batch 0", "--batch: expected a whole number from 1 to");
  require_refusal("train --batch 1.5", "got '1.5'");
  require_refusal("train --epochs 0", "--epochs: expected a whole number from 1 to");
  require_refusal("train --steps 99999999999999999999", "--steps: expected a whole number from 0");
  require_refusal("train --seed -1", "--seed: expected a whole number from 0 to 2^64-1, got '-1'");
}

TEST_CASE("numbers must be finite and in range") {
  for (const std::string value : {"nan", "inf", "-0.1", "fast"})
    require_refusal("train --lr " + value,
                    "--lr: expected a finite number >= 0, got '" + value + "'");
  for (const std::string command : {"train", "bench"})
    for (const std::string value : {"nan", "-1", "1e10"})
      require_refusal(
          command + " --stall-timeout " + value,
          "--stall-timeout: expected a number of seconds from 0 to 1e9, got '" + value + "'");
  for (const std::string flag : {"--momentum", "--bn-momentum"})
    for (const std::string value : {"nan", "1.01", "-0.01"})
      require_refusal("train " + flag + " " + value,
                      flag + ": expected a number in [0, 1], got '" + value + "'");
}
