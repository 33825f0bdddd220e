// The digits of this project, and small folders with every kind of mistake.

#include "lockstep/io/idx_folder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/idx_bytes.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Bytes = std::vector<std::uint8_t>;

const std::string train_images = "train-images-idx3-ubyte";
const std::string train_labels = "train-labels-idx1-ubyte";
const std::string test_images = "test-images-idx3-ubyte";
const std::string test_labels = "test-labels-idx1-ubyte";

void write_small(const TemporaryFolder& folder) {
  set_content(folder / train_images, idx_bytes(0x08, {2, 1, 2}, Bytes{0, 10, 20, 5}));
  set_content(folder / train_labels, idx_bytes(0x08, {2}, Bytes{0, 1}));
  set_content(folder / test_images, idx_bytes(0x08, {1, 1, 2}, Bytes{20, 40}));
  set_content(folder / test_labels, idx_bytes(0x08, {1}, Bytes{3}));
}

// Whether the small folder is refused with one file's content changed.
bool is_refused(const std::string& name, const std::string& content) {
  const TemporaryFolder folder;
  write_small(folder);
  set_content(folder / name, content);
  try {
    (void)read_idx_folder(folder.path());
  } catch (const DataError&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("the digits are there") {
  const LabelledImages digits = read_idx_folder(LOCKSTEP_DIGITS_FOLDER);
  CHECK(digits.training.num_samples() == 1437);
  CHECK(digits.test.num_samples() == 360);
  for (const ArrayDataset* set : {&digits.training, &digits.test}) {
    CHECK(set->input_shape() == Shape{8, 8, 1});
    CHECK(set->target_shape() == Shape{});
    CHECK(set->num_classes() == 10);
    const auto values = set->inputs().values<float>();
    CHECK(*std::min_element(values.begin(), values.end()) == 0.0F);
    CHECK(*std::max_element(values.begin(), values.end()) == 1.0F);
    CHECK(std::all_of(values.begin(), values.end(),
                      [](float value) { return 16.0F * value == std::floor(16.0F * value); }));
    std::array<int, 10> counts{};
    for (const std::int64_t label : set->targets().values<std::int64_t>())
      ++counts.at(static_cast<std::size_t>(label));
    CHECK(*std::min_element(counts.begin(), counts.end()) >= 30);
  }
  // The first image is a zero; this is its upper edge.
  CHECK(digits.training.targets().values<std::int64_t>()[0] == 0);
  const std::array<float, 8> edge{0, 0, 5, 13, 9, 1, 0, 0};
  for (std::size_t i = 0; i < edge.size(); ++i)
    CHECK(digits.training.inputs().values<float>()[i] == edge[i] / 16.0F);
}

TEST_CASE("both sets are scaled by the training maximum and share the classes") {
  const TemporaryFolder folder;
  write_small(folder);
  const LabelledImages sets = read_idx_folder(folder.path());
  const auto training = sets.training.inputs().values<float>();
  const auto test = sets.test.inputs().values<float>();
  CHECK(std::vector<float>(training.begin(), training.end()) ==
        std::vector<float>{0.0F, 0.5F, 1.0F, 0.25F});
  CHECK(std::vector<float>(test.begin(), test.end()) == std::vector<float>{1.0F, 2.0F});
  CHECK(sets.training.num_classes() == 4);
  CHECK(sets.test.num_classes() == 4);
}

TEST_CASE("the test files may have MNIST's names") {
  const TemporaryFolder folder;
  write_small(folder);
  std::filesystem::rename(folder / test_images, folder / "t10k-images-idx3-ubyte");
  std::filesystem::rename(folder / test_labels, folder / "t10k-labels-idx1-ubyte");
  CHECK(read_idx_folder(folder.path()).test.num_samples() == 1);
}

TEST_CASE("files that do not belong together are refused") {
  CHECK_FALSE(is_refused(test_labels, idx_bytes(0x08, {1}, Bytes{0})));
  CHECK(is_refused(train_labels, idx_bytes(0x08, {3}, Bytes{0, 1, 2})));
  CHECK(is_refused(test_labels, idx_bytes(0x08, {2}, Bytes{0, 1})));
  CHECK(is_refused(test_images, idx_bytes(0x08, {1, 2, 1}, Bytes{0, 1})));
  CHECK(is_refused(train_images, idx_bytes(0x08, {2, 1, 2}, Bytes{0, 0, 0, 0})));
  CHECK(is_refused(train_images,
                   idx_bytes(0x0d, {2, 1, 2}, std::vector<float>{0.0F, 1.0F, INFINITY, 0.0F})));
  CHECK(is_refused(train_images, idx_header(0x08, {0, 1, 2})));
  CHECK(is_refused(train_images, "not IDX at all"));
}

TEST_CASE("an empty training set cannot scale") {
  const TemporaryFolder folder;
  write_small(folder);
  set_content(folder / train_images, idx_header(0x08, {0, 1, 2}));
  set_content(folder / train_labels, idx_header(0x08, {0}));
  CHECK_THROWS_AS(read_idx_folder(folder.path()), DataError);
}

TEST_CASE("a missing file or folder is named") {
  for (const std::string& name : {train_images, train_labels, test_images, test_labels}) {
    const TemporaryFolder folder;
    write_small(folder);
    std::filesystem::remove(folder / name);
    try {
      (void)read_idx_folder(folder.path());
      FAIL("read without " << name);
    } catch (const DataError& error) {
      CHECK(std::string(error.what()).find((folder / name).string()) != std::string::npos);
    }
  }
  CHECK_THROWS_AS(read_idx_folder("no such folder"), DataError);
}
