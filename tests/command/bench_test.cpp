// What the benchmark measures, and that it is right. How fast things are is nobody's test.

#include <algorithm>
#include <set>

#include "bench/onednn_candidates.hpp"
#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string brief = "bench --rounds 1 --shape 3,5,7,9 --layout nchw ";

std::set<std::string> measures_in(const std::vector<nlohmann::json>& records) {
  std::set<std::string> measures;
  for (const auto& record : records) measures.insert(record.at("what").get<std::string>());
  return measures;
}

void require_sound(const nlohmann::json& record) {
  CAPTURE(record.dump());
  CHECK(record.at("schema") == "lockstep.bench.1");
  CHECK((record.contains("ratio") ? record.at("ratio").get<double>() : 1.0) > 0.0);
  CHECK(record.value("wrong", 0) == 0);
  CHECK(record.contains("target") == record.contains("met"));
  if (!record.contains("target")) return;
  const auto found = record.at(record.at("target_of").get<std::string>()).get<double>();
  CHECK(record.at("met") == (found <= record.at("target").get<double>()));
}

}  // namespace

TEST_CASE("every measure is a record of one schema, and right") {
  std::set<std::string> alone{"floor forward",    "floor backward",   "floor inference",
                              "forward",          "backward",         "step",
                              "inference",        "relu forward",     "relu backward",
                              "residual forward", "residual backward", "exact forward",
                              "exact backward"};
  if (has_onednn()) alone.insert({"onednn forward", "onednn backward"});
  std::set<std::string> together = alone;
  together.insert({"sync forward", "sync backward", "sync extra forward", "sync extra backward",
                   "sync step", "merge of 2*64+1", "merge of 2*1024+1", "merge of 2*4096+1"});
  for (const int num_ranks : {0, 1, 2}) {
    const auto records = records_of(brief, num_ranks);
    CAPTURE(num_ranks);
    CHECK(measures_in(records) == (num_ranks < 2 ? alone : together));
    for (const auto& record : records) require_sound(record);
    CHECK(records.front().at("shape") == "3x5x7x9");
    CHECK(records.front().at("layout") == "nchw");
  }
}

TEST_CASE("every dtype and layout gives what the reference gives") {
  for (const std::string dtype : {"float64", "bfloat16", "float16"}) {
    const auto records =
        records_of("bench --rounds 1 --shape 5,3,4,3 --shape 33,17 --dtype " + dtype);
    for (const std::string layout : {"nhwc", "nchw", "nc"})
      CHECK(std::ranges::count_if(records, [&](const nlohmann::json& record) {
              return record.value("layout", "") == layout && record.contains("wrong");
            }) == 9);
    for (const auto& record : records) require_sound(record);
    CHECK(records.front().at("dtype") == dtype);
  }
}

TEST_CASE("several shapes can be given, also as a variable") {
  const std::string shapes = "4,8 2,3,2,2";
  for (const Run& run :
       {Run{.arguments = "bench --rounds 1 --json --quiet --shape 4,8 --shape 2,3,2,2"},
        Run{.arguments = "bench --rounds 1 --json --quiet",
        .preamble = "export LOCKSTEP_SHAPE='" + shapes + "'"}}) {
    const Outcome outcome = outcome_of(run);
    CAPTURE(outcome.error);
    REQUIRE(outcome.exit_code == 0);
    const int num_measures = has_onednn() ? 14 : 12;
    CHECK(num_occurrences(outcome.output, "\"4x8\"") == num_measures);
    CHECK(num_occurrences(outcome.output, "\"2x3x2x2\"") == 2 * num_measures);
  }
}
