// What is written is read back; every other file is refused with its reason.

#include "lockstep/io/safetensors.hpp"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Catch::Matchers::Contains;

// Random bits, NaN and infinity among them.
Tensor random_bits(const Shape& shape, DType dtype, std::uint64_t seed) {
  Tensor tensor(shape, dtype);
  std::uint64_t i = 0;
  for (std::byte& byte : bytes_of(MutableTensorView(tensor))) {
    const auto bits = static_cast<std::uint8_t>(RandomKey(seed).bits(i++));
    byte = static_cast<std::byte>(dtype == DType::boolean ? bits & 1 : bits);
  }
  return tensor;
}

const std::vector<DType> all_dtypes{DType::float32,  DType::float64, DType::float16,
                                    DType::bfloat16, DType::int64,   DType::boolean};

TensorFile some_content() {
  TensorFile content{{}, {{"note", "two\nlines and a \"quote\""}, {"leer", ""}}};
  std::uint64_t seed = 0;
  for (const DType dtype : all_dtypes)
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{3}, Shape{2, 0, 5}, Shape{2, 3, 5}})
      content.tensors[std::string(name_of(dtype)) + to_string(shape)] =
          random_bits(shape, dtype, ++seed);
  return content;
}

bool is_equal(const TensorFile& a, const TensorFile& b) {
  return a.metadata == b.metadata &&
         std::ranges::equal(a.tensors, b.tensors, [](const auto& x, const auto& y) {
           return x.first == y.first && is_identical(x.second, y.second);
         });
}

// A file as small as one that holds each kind of thing can be.
std::vector<std::byte> small_file() {
  TensorFile content{{}, {{"step", "12"}}};
  content.tensors["b"] = random_bits({3}, DType::boolean, 1);
  content.tensors["w"] = random_bits({2}, DType::float32, 2);
  return safetensors_of(content);
}

std::vector<std::byte> file_of(const std::string& header, std::size_t num_data_bytes = 0) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes(8 + header.size() + num_data_bytes);
  std::memcpy(bytes.data(), &length, 8);
  std::ranges::copy(std::as_bytes(std::span(header)), bytes.begin() + 8);
  return bytes;
}

// Why the bytes are refused; empty if they are not.
std::string refusal_of(std::span<const std::byte> bytes) {
  try {
    static_cast<void>(read_safetensors(bytes));
    return {};
  } catch (const DataError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("tensors of every dtype and shape come back bit for bit, with their metadata") {
  const TensorFile content = some_content();
  CHECK(is_equal(read_safetensors(safetensors_of(content)), content));
  const TemporaryFolder folder;
  write_safetensors(folder / "file", content);
  CHECK(is_equal(read_safetensors(folder / "file"), content));
  CHECK(is_equal(read_safetensors(safetensors_of({})), {}));
}

TEST_CASE("a file tells what it holds, and equal content gives equal bytes") {
  const TensorFile content = some_content();
  const TemporaryFolder folder;
  write_safetensors(folder / "file", content);
  const SafetensorsHeader header = verify_safetensors(folder / "file");
  CHECK(header.has_checksums);
  CHECK(header.metadata == content.metadata);
  CHECK(header.num_header_bytes % 8 == 0);
  REQUIRE(header.entries.size() == content.tensors.size());
  for (const TensorEntry& entry : header.entries) {
    CAPTURE(entry.name);
    CHECK(content.tensors.at(entry.name).shape() == entry.shape);
    CHECK(entry.first % size_of(entry.dtype) == 0);
    CHECK(entry.checksum.has_value());
  }
  write_safetensors(folder / "again", content);
  CHECK(content_of(folder / "again") == content_of(folder / "file"));
}

TEST_CASE("every change of one byte is refused") {
  const std::vector<std::byte> good = small_file();
  REQUIRE(refusal_of(good).empty());
  int num_accepted = 0;
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int change = 1; change < 256; ++change) {
      std::vector<std::byte> bytes = good;
      bytes[at] ^= static_cast<std::byte>(change);
      num_accepted += refusal_of(bytes).empty() ? 1 : 0;
    }
  CHECK(num_accepted == 0);
}

TEST_CASE("every change of one byte is refused with its reason") {
  const std::vector<std::byte> good = small_file();
  const std::size_t header_end =
      8 + static_cast<std::size_t>(good[0]) + 256 * static_cast<std::size_t>(good[1]);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::vector<std::byte> bytes = good;
    bytes[at] ^= std::byte{4};
    const std::string reason = refusal_of(bytes);
    CAPTURE(at, reason);
    if (at < 8)
      CHECK_THAT(reason, Contains("header"));
    else if (at < header_end)
      CHECK_THAT(reason, Contains("the header is damaged") || Contains("the header is no JSON"));
    else
      CHECK_THAT(reason, Contains("is damaged: its checksum") || Contains("expected a boolean"));
  }
}

TEST_CASE("every other length is refused with its reason") {
  const std::vector<std::byte> good = small_file();
  for (std::size_t length = 0; length < good.size(); ++length) {
    const std::string reason = refusal_of(std::span(good).first(length));
    CAPTURE(length, reason);
    CHECK_THAT(reason, Contains("bytes: ") || Contains("bytes cannot be read"));
    CHECK_THAT(reason, Contains("expected") || Contains("do not lie within"));
  }
  std::vector<std::byte> longer = good;
  longer.emplace_back();
  CHECK_THAT(refusal_of(longer), Contains("bytes of data, found"));
}

TEST_CASE("a file of others is read without checksums") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"shape":[],"data_offsets":[8,16],"dtype":"I64"}}   )";
  const TensorFile content = read_safetensors(file_of(header, 16));
  CHECK(content.metadata.at("format") == "pt");
  CHECK(is_identical(content.tensors.at("a"), Tensor({2})));
  CHECK(is_identical(content.tensors.at("b"), Tensor({}, DType::int64)));
  const TemporaryFolder folder;
  const auto bytes = file_of(header, 16);
  set_content(folder / "file", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  CHECK_FALSE(verify_safetensors(folder / "file").has_checksums);
}

TEST_CASE("hostile headers are refused with their reason") {
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  const auto two = [&](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + a +
           R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + b + "}}";
  };
  struct Case {
    std::string header;
    std::string reason;
    std::size_t num_data_bytes = 8;
  };
  const std::vector<Case> cases{
      {"", "no JSON"},
      {"{", "no JSON"},
      {"{} x", "no JSON"},
      {"\xff", "no JSON"},
      {"[]", "expected a JSON object"},
      {"7", "expected a JSON object"},
      {R"({"a":7})", "'a': expected an object"},
      {R"({"a":{}})", "'dtype', 'shape' and 'data_offsets' alone"},
      {R"({"a":{"dtype":"F32","shape":[2],"x":[0,8]}})", "expected 'data_offsets'"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "alone"},
      {R"({"__metadata__":7})", "expected an object"},
      {R"({"__metadata__":{"a":7}})", "expected a text"},
      {R"({"__metadata__":{"lockstep.format":"1"}})", "does not begin with its checksum"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "'a': the name is there twice"},
      {R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "nested too deeply"},
      {R"({"a":)" + std::string(100000, '[') + "}", "nested too deeply"},
      {one(R"("F8_E4M3")", "[8]", "[0,8]"), "expected a dtype of"},
      {one("7", "[2]", "[0,8]"), "expected a dtype of"},
      {one(R"("F32")", "2", "[0,8]"), "expected lists of numbers"},
      {one(R"("F32")", "[-2]", "[0,8]"), "whole number >= 0, found -2"},
      {one(R"("F32")", "[2.0]", "[0,8]"), "whole number >= 0"},
      {one(R"("F32")", "[1e400]", "[0,8]"), "no JSON"},
      {one(R"("F32")", "[true]", "[0,8]"), "whole number >= 0"},
      {one(R"("F32")", "[9223372036854775808]", "[0,8]"), "too large"},
      {one(R"("F32")", "[99999999999999999999]", "[0,8]"), "whole number >= 0"},
      {one(R"("F32")", "[4294967296,4294967296]", "[0,8]"), "do not fit"},
      {one(R"("F32")", "[4611686018427387904]", "[0,8]"), "do not fit"},
      {one(R"("F32")", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]"), "at most 16 axes"},
      {one(R"("F32")", "[2]", "[0,8,8]"), "two data_offsets"},
      {one(R"("F32")", "[2]", "[0]"), "two data_offsets"},
      {one(R"("F32")", "[2]", "[8,0]"), "leave a gap after"},
      {one(R"("F32")", "[3]", "[0,8]"), "do not fit its dtype"},
      {one(R"("F32")", "[4]", "[0,16]"), "do not lie within the 8 bytes"},
      {one(R"("F32")", "[2]", "[0,18446744073709551615]"), "do not lie within"},
      {one(R"("F32")", "[1]", "[0,4]"), "expected 4 bytes of data, found 8"},
      {two("[0,4]", "[0,4]"), "overlap"},
      {two("[0,4]", "[2,6]"), "overlap"},
      {two("[4,8]", "[8,12]"), "leave a gap", 12},
      {two("[0,4]", "[8,12]"), "leave a gap", 12},
      {R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       "not aligned", 6},
      {"{}", "expected 0 bytes of data, found 8"},
      {R"({")" + std::string(100000, 'x') + R"(":7})", "..."},
      {"{\"\\u001b[31m\":7}", "'?[31m': expected an object"}};
  for (const Case& c : cases) {
    const std::string reason = refusal_of(file_of(c.header, c.num_data_bytes));
    CAPTURE(c.header.substr(0, 200), reason);
    CHECK_THAT(reason, Contains(c.reason));
    CHECK(reason.size() < 500);
  }
  auto boolean = file_of(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2);
  CHECK(refusal_of(boolean).empty());
  boolean.back() = std::byte{2};
  CHECK_THAT(refusal_of(boolean), Contains("expected a boolean, 0 or 1, found 2"));
}

// As the square of their number, this many would take minutes.
TEST_CASE("headers of many parts are read, or refused, in a time that their length explains") {
  std::string many = "{", lists = "{\"a\":[";
  for (int i = 0; i < 40000; ++i) {
    many += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) +
            R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
    lists += "{},";
  }
  const auto start = std::chrono::steady_clock::now();
  CHECK(read_safetensors(file_of(many + "}")).tensors.size() == 40000);
  CHECK_THAT(refusal_of(file_of(lists + "{}]}")), Contains("nested too deeply"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("sizes that a file only claims cost no memory") {
  std::vector<std::byte> bytes(8, std::byte{0xff});
  CHECK_THAT(refusal_of(bytes), Contains("is too long"));
  const std::uint64_t length = max_safetensors_header;
  std::memcpy(bytes.data(), &length, 8);
  CHECK_THAT(refusal_of(bytes), Contains("expected a header of 16777216 bytes, found 0"));
}

TEST_CASE("a file that cannot be read is refused by its name") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(read_safetensors(folder / "missing"), Contains("missing: No such file"));
  CHECK_THROWS_WITH(read_safetensors(folder.path()), Contains("it is no regular file"));
  set_content(folder / "empty", "");
  CHECK_THROWS_WITH(verify_safetensors(folder / "empty"), Contains((folder / "empty").string()));
}

TEST_CASE("what no file can hold is refused before anything is written") {
  const TemporaryFolder folder;
  TensorFile reserved, binary;
  reserved.tensors["__metadata__"] = Tensor({1});
  binary.tensors["\xff"] = Tensor({1});
  CHECK_THROWS_AS(write_safetensors(folder / "file", reserved), ArgumentError);
  CHECK_THROWS_AS(write_safetensors(folder / "file", binary), ArgumentError);
  CHECK(std::filesystem::is_empty(folder.path()));
}
