// Records survive the way through a file; failing writes are reported and leave whole lines.

#include "lockstep/io/json_lines.hpp"

#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/random.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

nlohmann::json parsed(const Record& record) { return nlohmann::json::parse(to_json_line(record)); }

// Lets no file of this process grow beyond some bytes.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("every double reads back as itself") {
  using Limits = std::numeric_limits<double>;
  std::vector<double> values{0.0,
                             -0.0,
                             0.1,
                             1.0,
                             1e300,
                             Limits::max(),
                             Limits::min(),
                             Limits::denorm_min(),
                             Limits::epsilon(),
                             9007199254740993.0};
  const RandomKey key(1);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const double value = std::bit_cast<double>(key.bits(i));  // of every size
    if (std::isfinite(value)) values.push_back(value);
  }
  for (const double value : values) {
    const auto read = parsed({{"x", value}}).at("x").get<double>();
    CHECK(std::bit_cast<std::uint64_t>(read) == std::bit_cast<std::uint64_t>(value));
  }
}

TEST_CASE("every integer reads back as itself") {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t value : {Limits::min(), std::int64_t{-1}, std::int64_t{0}, Limits::max()})
    CHECK(parsed({{"x", value}}).at("x").get<std::int64_t>() == value);
}

TEST_CASE("every byte in a text gives one line of valid JSON") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "b";
    const Record record{{text, text}};
    CHECK(to_json_line(record).find('\n') == std::string::npos);
    const auto object = parsed(record);
    CHECK(object.begin().value() == object.begin().key());
    if (byte < 128) CHECK(object.begin().key() == text);
  }
}

TEST_CASE("fields keep their order and their types") {
  CHECK(to_json_line({{"step", 12}, {"loss", 0.5}, {"a", "text"}, {"done", true}, {"one", 1.0}}) ==
        R"({"step":12,"loss":0.5,"a":"text","done":true,"one":1.0})");
  CHECK(to_json_line({}) == "{}");
}

TEST_CASE("numbers that JSON does not have are null") {
  CHECK(to_json_line({{"a", NAN}, {"b", INFINITY}, {"c", -INFINITY}}) ==
        R"({"a":null,"b":null,"c":null})");
}

TEST_CASE("two fields of one name are refused") {
  CHECK_THROWS_AS(to_json_line({{"loss", 1.0}, {"loss", 2.0}}), ArgumentError);
}

TEST_CASE("a line is in the file as soon as it is written") {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  JsonLinesWriter writer(path);
  writer.write({{"step", 1}});
  CHECK(content_of(path) == "{\"step\":1}\n");
  writer.write({{"step", 2}});
  CHECK(content_of(path) == "{\"step\":1}\n{\"step\":2}\n");
  JsonLinesWriter moved(std::move(writer));
  moved.write({{"step", 3}});
  CHECK(content_of(path) == "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_CASE("a later writer goes on behind what is there") {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  JsonLinesWriter(path).write({{"step", 1}});
  JsonLinesWriter(path).write({{"step", 2}});
  CHECK(content_of(path) == "{\"step\":1}\n{\"step\":2}\n");
  set_content(path, "{\"step\":1}\n{\"st");  // torn
  JsonLinesWriter(path).write({{"step", 2}});
  CHECK(content_of(path) == "{\"step\":1}\n{\"st\n{\"step\":2}\n");
}

TEST_CASE("a failing write is reported and leaves whole lines") {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  JsonLinesWriter writer(path);
  writer.write({{"step", 1}});
  std::string problem;
  {
    const FileSizeLimit limit(20);  // in the middle of the next line
    try {
      writer.write({{"step", 1234567890}});
    } catch (const DataError& error) {
      problem = error.what();
    }
  }
  CHECK(problem.find(path.string()) != std::string::npos);
  CHECK(problem.find("File too large") != std::string::npos);
  CHECK(content_of(path) == "{\"step\":1}\n");
  writer.write({{"step", 2}});
  CHECK(content_of(path) == "{\"step\":1}\n{\"step\":2}\n");
}

TEST_CASE("a file that cannot be opened or written is refused") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(JsonLinesWriter(folder.path()), DataError);
  CHECK_THROWS_AS(JsonLinesWriter(folder / "missing" / "metrics.jsonl"), DataError);
  JsonLinesWriter full("/dev/full");
  CHECK_THROWS_AS(full.write({{"step", 1}}), DataError);
}
