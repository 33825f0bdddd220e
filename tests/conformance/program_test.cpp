// The runner as people start it: it finds what is wrong, and says so by its exit code.

#include <functional>
#include <nlohmann/json.hpp>

#include "command/command.hpp"
#include "conformance/small_group.hpp"
#include "support/catch.hpp"

using namespace lockstep::conformance;
using namespace lockstep::testing;
using nlohmann::json;

namespace {

// Runs the small group after a change to it.
Outcome outcome_with(const std::function<void(json& group)>& change, int num_ranks = 0,
                     const std::string& blob = right_blob, const std::string& more = "") {
  const TemporaryFolder folder;
  json group = small_group();
  change(group);
  set_content(folder / "small.json", group.dump());
  set_content(folder / "small.bin", blob);
  return outcome_of({"--cases . " + more, num_ranks}, folder.path());
}

void nothing(json&) {}

std::string last_line(const Outcome& outcome) {
  const auto lines = lines_of(outcome.output);
  return lines.empty() ? "" : lines.back();
}

void require(const Outcome& outcome, int exit_code, const std::string& summary,
             const std::string& reason = "") {
  CAPTURE(outcome.output, outcome.error, reason);
  CHECK(outcome.exit_code == exit_code);
  CHECK(last_line(outcome) == summary);
  CHECK(outcome.output.find(reason) != std::string::npos);
}

void require_damage(const Outcome& outcome, const std::string& reason) {
  CAPTURE(outcome.output, outcome.error, reason);
  CHECK(outcome.exit_code == 2);
  CHECK(outcome.output.empty());
  CHECK(num_occurrences(outcome.error, "conformance: ") == 1);
  CHECK(outcome.error.find(reason) != std::string::npos);
}

}  // namespace

TEST_CASE("right numbers pass on any number of ranks") {
  for (const int num_ranks : {0, 3})
    require(outcome_with(nothing, num_ranks), 0, "1 passed, 0 failed, 0 skipped");
}

TEST_CASE("a wrong number fails, whatever rank has it") {
  const std::string failed = "0 passed, 1 failed, 0 skipped";
  const std::string first = bytes_of({0.0, 2.0, -1.000001, 1.0, 1.0});
  const std::string second = bytes_of({0.0, 2.0, -1.0, 1.000001, 1.0});
  require(outcome_with(nothing, 0, first), 1, failed, "(f32, whole) step 1: y: [0] is -1 instead");
  require(outcome_with(nothing, 2, first), 1, failed, "(f32, split 1+1) step 1: rank 0: y: [0]");
  require(outcome_with(nothing, 2, second), 1, failed, "rank 1: y: [0] is 1 instead");
}

TEST_CASE("one expected value that is changed in the project's own cases fails") {
  const TemporaryFolder folder;
  std::filesystem::copy(LOCKSTEP_CASES_FOLDER, folder / "cases");
  const json group = json::parse(content_of(folder / "cases/formulas.json"));
  const json& one = group.at("cases").at(0);
  const json& array = one.at("steps").at(0).at("expect").at("y").at("array");
  std::string blob = content_of(folder / "cases/formulas.bin");
  blob.at(array.at("offset").get<std::size_t>() + 4) ^= 0x10;
  set_content(folder / "cases/formulas.bin", blob);
  const Outcome outcome = outcome_of({"--cases cases", 2}, folder.path());
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.find("failed " + one.at("id").get<std::string>() + ": ") !=
        std::string::npos);
}

TEST_CASE("what the layer refuses is a failure that says why") {
  require(outcome_with([](json& group) { the_case(group)["opts"]["epsilon"] = -1; }, 2), 1,
          "0 passed, 1 failed, 0 skipped", "epsilon must be finite and >= 0");
  require(outcome_with([](json& group) {
            the_step(group)["expect"]["dx"] = the_step(group)["expect"]["y"];
          }),
          1, "0 passed, 1 failed, 0 skipped", "dx: 0 values instead of 2");
}

TEST_CASE("an optional case may be impossible, but not wrong") {
  const auto optional = [](json& group) { the_case(group)["tags"] = {"optional"}; };
  const std::string skipped = "0 passed, 0 failed, 1 skipped";
  require(outcome_with([&](json& group) {
            optional(group);
            the_case(group)["opts"]["speed"] = 1;
          }),
          0, skipped, "skipped small/one: unknown option 'speed'");
  require(outcome_with(
              [&](json& group) {
                optional(group);
                the_case(group)["opts"]["epsilon"] = -1;
              },
              2),
          0, skipped, "epsilon must be finite and >= 0");
  require(outcome_with(optional, 0, bytes_of({0.0, 2.0, -1.0, 2.0, 1.0})), 1,
          "0 passed, 1 failed, 0 skipped");
}

TEST_CASE("what the runner does not know is a failure") {
  const auto hurry = [](json& group) { the_case(group)["opts"]["speed"] = 1; };
  require(outcome_with(hurry, 2), 1, "0 passed, 1 failed, 0 skipped", "unknown option 'speed'");
}

TEST_CASE("a damaged group is not judged, a damaged case is a failure") {
  const auto other_format = [](json& group) { group["format"] = "bn-cases 2"; };
  for (const int num_ranks : {0, 2}) {
    require_damage(outcome_with(other_format, num_ranks), "expected the format");
    require(outcome_with(nothing, num_ranks, right_blob.substr(0, 39)), 1,
            "0 passed, 1 failed, 0 skipped", "beyond the blob");
  }
}

TEST_CASE("what is asked for must be there") {
  require_damage(outcome_with(nothing, 0, right_blob, "--group large"),
                 "large.json cannot be read");
  require_damage(outcome_with([](json& group) { the_case(group)["run"] = {"f32"}; }, 0, right_blob,
                              "--precision f64"),
                 "no case is meant for the precision f64");
  require_damage(outcome_with(nothing, 0, right_blob, "--report nowhere/report.json"),
                 "nowhere/report.json cannot be written");
  CHECK(outcome_of({""}).exit_code == 2);
  CHECK(outcome_of({"--cases . --precision f16"}).exit_code == 2);
}

TEST_CASE("the report has every case with its runs") {
  const TemporaryFolder folder;
  set_content(folder / "small.json", small_group().dump());
  set_content(folder / "small.bin", right_blob);
  (void)outcome_of({"--cases . --group small --precision f64 --report report", 2}, folder.path());
  const json report = json::parse(content_of(folder / "report"));
  CHECK(report.at("passed") == 1);
  CHECK(report.at("ranks") == 2);
  const json& one = report.at("cases").at(0);
  CHECK(one.at("id") == "small/one");
  CHECK(one.at("verdict") == "passed");
  CHECK(one.at("runs") ==
        json{{{"precision", "f64"}, {"cut", "split 1+1"}, {"worst_in_tolerances", 0.0}}});
}
