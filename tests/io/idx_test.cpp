// IDX files of every type are read exactly; damaged and hostile ones are refused with a reason.

#include "lockstep/io/idx.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/idx_bytes.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Reads a file with this content; the message of the DataError when it is refused.
struct Outcome {
  std::optional<Tensor> tensor;
  std::string problem;
};

Outcome outcome_of(const std::string& content, DType dtype = DType::float64) {
  static const TemporaryFolder folder;
  set_content(folder / "file", content);
  try {
    return {read_idx(folder / "file", dtype), ""};
  } catch (const DataError& error) {
    CHECK(std::string(error.what()).find((folder / "file").string()) != std::string::npos);
    return {std::nullopt, error.what()};
  }
}

bool is_refused(const std::string& content, const std::string& reason) {
  const Outcome outcome = outcome_of(content);
  INFO(outcome.problem);
  CHECK(outcome.problem.find(reason) != std::string::npos);
  return !outcome.tensor;
}

template <class T>
bool equal(const Tensor& tensor, const std::vector<T>& expected) {
  const auto values = tensor.values<T>();
  return std::equal(values.begin(), values.end(), expected.begin(), expected.end());
}

template <class T>
void check_round_trip(std::uint8_t code, const std::vector<T>& values) {
  const auto count = static_cast<std::uint32_t>(values.size());
  const std::string content = idx_bytes(code, {count / 2, 2}, values);
  const Tensor exact = outcome_of(content, DType::float64).tensor.value();
  CHECK(exact.shape() == Shape{count / 2, 2});
  CHECK(equal(exact, std::vector<double>(values.begin(), values.end())));

  std::vector<float> rounded;
  for (const T value : values) rounded.push_back(static_cast<float>(value));
  CHECK(equal(outcome_of(content, DType::float32).tensor.value(), rounded));

  std::vector<BFloat16> short_numbers;
  for (const T value : values) short_numbers.push_back(BFloat16(static_cast<double>(value)));
  CHECK(equal(outcome_of(content, DType::bfloat16).tensor.value(), short_numbers));

  const Outcome whole = outcome_of(content, DType::int64);
  if constexpr (std::is_integral_v<T>)
    CHECK(equal(whole.tensor.value(), std::vector<std::int64_t>(values.begin(), values.end())));
  else
    CHECK(whole.problem.find("expected integers") != std::string::npos);
}

template <class T>
std::vector<T> extremes() {
  using Limits = std::numeric_limits<T>;
  return {T{0}, T{1}, T{100}, Limits::min(), Limits::max(), Limits::lowest()};
}

std::string small_images() {
  std::vector<std::uint8_t> values(24);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(5 * i);
  return idx_bytes(0x08, {2, 3, 4}, values);
}

}  // namespace

TEST_CASE("every element type is read back") {
  check_round_trip(0x08, extremes<std::uint8_t>());
  check_round_trip(0x09, extremes<std::int8_t>());
  check_round_trip(0x0b, extremes<std::int16_t>());
  check_round_trip(0x0c, extremes<std::int32_t>());
  check_round_trip(0x0d, extremes<float>());
  check_round_trip(0x0e, std::vector<double>{0.0, -0.1, 1e30, 0x1p-140});
}

TEST_CASE("long files are read in order") {
  std::vector<std::int16_t> values(100001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int16_t>(i % 30011);
  const auto outcome = outcome_of(idx_bytes(0x0b, {100001}, values));
  CHECK(equal(outcome.tensor.value(), std::vector<double>(values.begin(), values.end())));
}

TEST_CASE("images have one channel, labels are integers from 0") {
  const TemporaryFolder folder;
  set_content(folder / "images", small_images());
  const Tensor images = read_idx_images(folder / "images");
  CHECK(images.shape() == Shape{2, 3, 4, 1});
  CHECK(images.values<float>()[23] == 115.0F);

  set_content(folder / "labels", idx_bytes<std::uint8_t>(0x08, {3}, {7, 0, 255}));
  CHECK(equal(read_idx_labels(folder / "labels"), std::vector<std::int64_t>{7, 0, 255}));

  CHECK_THROWS_AS(read_idx_images(folder / "labels"), DataError);
  CHECK_THROWS_AS(read_idx_labels(folder / "images"), DataError);
  CHECK_THROWS_AS(read_idx_images(folder / "images", DType::int64), ArgumentError);
  set_content(folder / "negative", idx_bytes<std::int8_t>(0x09, {2}, {1, -1}));
  CHECK_THROWS_AS(read_idx_labels(folder / "negative"), DataError);
  set_content(folder / "floating", idx_bytes<float>(0x0d, {2}, {1.F, 2.F}));
  CHECK_THROWS_AS(read_idx_labels(folder / "floating"), DataError);
}

TEST_CASE("no samples are an empty tensor") {
  const Tensor tensor = outcome_of(idx_header(0x08, {0, 8, 8})).tensor.value();
  CHECK(tensor.shape() == Shape{0, 8, 8});
}

TEST_CASE("a file cut anywhere is refused") {
  const std::string content = small_images();
  for (std::size_t length = 0; length < content.size(); ++length)
    CHECK(is_refused(content.substr(0, length), "expected"));
}

TEST_CASE("a file that goes on is refused") {
  for (const std::size_t count : {1U, 24U, 1000U})
    CHECK(is_refused(small_images() + std::string(count, '\0'), "at byte 16: expected 24 bytes"));
  CHECK(is_refused(idx_header(0x08, {0, 8}) + "x", "expected 0 bytes"));
}

TEST_CASE("a changed header byte is refused or means the same") {
  const std::string content = small_images();
  const std::vector<double> original = [&] {
    const Tensor tensor = outcome_of(content).tensor.value();
    return std::vector<double>(tensor.values<double>().begin(), tensor.values<double>().end());
  }();
  for (std::size_t place = 0; place < 16; ++place)
    for (int change = 1; change < 256; ++change) {
      std::string changed = content;
      changed[place] = static_cast<char>(changed[place] ^ change);
      const Outcome outcome = outcome_of(changed);
      if (!outcome.tensor) continue;
      CHECK(place == 2);  // int8 instead of uint8
      CHECK(outcome.tensor->shape() == Shape{2, 3, 4});
      CHECK(equal(*outcome.tensor, original));
    }
}

TEST_CASE("what is wrong is said with its place") {
  CHECK(is_refused("", "at byte 0: expected 4 bytes"));
  CHECK(is_refused(std::string("\x1f\x8b\x08\x00", 4), "decompress"));
  CHECK(is_refused("\x89PNG....", "at byte 0: expected two zero bytes, found 89 50"));
  CHECK(is_refused(idx_header(0x0a, {1}) + "x", "at byte 2: expected an element type"));
  CHECK(is_refused(idx_header(0x08, {}) + "x", "at byte 3: expected 1 to 16 dimensions, found 0"));
  CHECK(is_refused(idx_header(0x08, std::vector<std::uint32_t>(17, 1)) + "x", "at byte 3"));
  CHECK(is_refused(idx_header(0x08, {2, 3}), "at byte 12: expected 6 bytes"));
}

TEST_CASE("sizes that no memory could hold are refused before memory is asked for") {
  constexpr std::uint32_t huge = 0xffffffff;
  CHECK(is_refused(idx_header(0x08, {huge}) + "x", "expected 4294967295 bytes"));
  CHECK(is_refused(idx_header(0x0e, {huge, huge}) + "x", "too many elements"));
  CHECK(is_refused(idx_header(0x08, {huge, huge, huge}) + "x", "too many elements"));
  CHECK(is_refused(idx_header(0x08, {huge, huge, huge, 0}), "too many elements"));
  CHECK(is_refused(idx_header(0x08, {0, huge, huge, huge}), "too many elements"));
  CHECK(is_refused(idx_header(0x08, {1U << 31, 1U << 31, 4}), "too many elements"));
  CHECK(is_refused(idx_header(0x08, std::vector<std::uint32_t>(16, huge)), "too many elements"));
}

TEST_CASE("what is no file is refused") {
  const TemporaryFolder folder;
  const auto reads = [&](const std::filesystem::path& path) { return read_idx(path); };
  CHECK_THROWS_AS(reads(folder / "missing"), DataError);
  CHECK_THROWS_AS(reads(folder / "missing" / "file"), DataError);
  CHECK_THROWS_AS(reads(folder.path()), DataError);
  CHECK_THROWS_AS(reads("/dev/zero"), DataError);
  CHECK_THROWS_AS(reads(""), DataError);
}
