// Data that cannot be used end all ranks with one message, also when one rank alone cannot use
// them.

#include "command/command.hpp"
#include "lockstep/comm/communicator.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::filesystem::path digits = LOCKSTEP_DIGITS_FOLDER;

// A folder with a copy of the digits, "digits".
struct Copy {
  Copy() { std::filesystem::copy(digits, folder / "digits"); }
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("names of data must be known") {
  require_refusal("train --data synthetic:moons", "--data: expected synthetic:blobs");
  require_refusal("train --data idx:", "--data: expected synthetic:blobs");
  for (const std::string model : {"cnn", "resnet"})
    require_refusal("train --data synthetic:blobs --model " + model,
                    "--model: " + model + " needs images");
}

TEST_CASE("a folder that is missing is refused") {
  require_refusal("train --data idx:/no/such/folder",
                  "lockstep: cannot read /no/such/folder/train-images-idx3-ubyte");
}

TEST_CASE("a damaged file is refused, whichever it is") {
  for (const std::string name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                 "test-images-idx3-ubyte", "test-labels-idx1-ubyte"}) {
    const Copy copy;
    const auto path = copy.folder / "digits" / name;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    require_refusal("train --data idx:" + (copy.folder / "digits").string(),
                    "lockstep: " + path.string() + " cannot be read as IDX");
  }
}

TEST_CASE("images and labels of different number are refused") {
  const Copy copy;
  const auto folder = copy.folder / "digits";
  std::filesystem::copy_file(folder / "test-labels-idx1-ubyte", folder / "train-labels-idx1-ubyte",
                             std::filesystem::copy_options::overwrite_existing);
  require_refusal("train --data idx:" + folder.string(), "holds 1437 images, but");
}

TEST_CASE("a rank that alone finds no data ends all, and is named") {
  const Copy copy;
  const std::string host = lockstep::host_name();
  for (const int num_ranks : {2, 3})
    for (int guilty = 0; guilty < num_ranks; guilty += 1) {
      const Outcome outcome =
          outcome_of({.arguments = "train --data idx:digits --model mlp",
                      .num_ranks = num_ranks,
                      .preamble = "test $rank != " + std::to_string(guilty) + " || cd /"},
                     copy.folder.path());
      CAPTURE(num_ranks, guilty, outcome.error);
      CHECK(outcome.exit_code == 2);
      CHECK(outcome.output.empty());
      CHECK(num_occurrences(outcome.error, "lockstep: rank " + std::to_string(guilty) + " on " +
                                               host + ": cannot read digits/") == 1);
      CHECK(num_occurrences(outcome.error, "cannot read") == 1);
    }
}

TEST_CASE("a rank that finds other data ends all") {
  const Copy copy;
  const auto other = copy.folder / "other" / "digits";
  std::filesystem::create_directories(other);
  for (const std::string kind : {"images-idx3-ubyte", "labels-idx1-ubyte"})
    for (const std::string set : {"train-", "test-"})
      std::filesystem::copy_file(digits / ("test-" + kind), other / (set + kind));
  const Outcome outcome = outcome_of({.arguments = "train --data idx:digits --model mlp",
                                      .num_ranks = 2,
                                      .preamble = "test $rank = 0 || cd other"},
                                     copy.folder.path());
  CAPTURE(outcome.error);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.empty());
  CHECK(num_occurrences(outcome.error, "data differs between ranks: rank 0 has 1437") == 1);
}
