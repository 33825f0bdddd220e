// What a terminal shows. The program script of util-linux lends one.

#include <cstdlib>
#include <iostream>

#include "command/command.hpp"
#include "support/catch.hpp"

using namespace lockstep::testing;

namespace {

const std::string erase_line = "\r\033[K";
const std::string endless = "train --data synthetic:blobs --model mlp --epochs 1000000000 ";

bool has_terminals() {
  static const bool result =
      std::system("script -qec 'stty cols 60' /dev/null >/dev/null 2>&1 </dev/null") == 0;
  if (!result) std::cout << "skipped: there is no script(1) of util-linux\n";
  return result;
}

// What a terminal shows within two seconds.
Outcome outcome_in_terminal(const std::string& arguments, int columns) {
  return outcome_of({.arguments = arguments,
                     .around = "script -qec \"stty cols " + std::to_string(columns) +
                               "; timeout -s KILL --foreground 2 {}\" /dev/null"});
}

// Lines without the last, which may be torn.
std::vector<std::string> whole_lines_of(const Outcome& outcome) {
  auto lines = lines_of(outcome.output);
  REQUIRE(lines.size() > 4);
  lines.pop_back();
  return lines;
}

}  // namespace

TEST_CASE("a terminal shows one progress line that gives way to results") {
  if (!has_terminals()) return;
  const auto lines = whole_lines_of(outcome_in_terminal(endless, 200));
  CHECK_THAT(lines[0], Catch::StartsWith("lockstep "));
  CHECK_THAT(lines[1], Catch::StartsWith("mlp on synthetic:blobs, global batch 64"));
  int num_progress = 0;
  for (std::size_t i = 2; i < lines.size(); ++i) {
    CAPTURE(lines[i]);
    if (i + 1 == lines.size() && lines[i].find("lockstep: stopped after") != std::string::npos)
      break;  // the last word of a run that a signal ends
    const std::string result = lines[i].substr(lines[i].rfind(erase_line));
    CHECK_THAT(result, Catch::StartsWith(erase_line + "epoch " + std::to_string(i - 1) + "/"));
    const std::string progress = lines[i].substr(0, lines[i].size() - result.size());
    if (progress.empty()) continue;
    CHECK_THAT(progress,
               Catch::StartsWith(erase_line + "step ") && Catch::Contains("/32000000000  loss ") &&
                   Catch::Contains("  accuracy ") &&
                   Catch::Contains(" samples/s  communication 0%  ") && Catch::EndsWith(" h left"));
    ++num_progress;
  }
  CHECK(num_progress >= 2);
  CHECK(num_progress <= 20);  // ten in a second are enough for eyes
}

TEST_CASE("a progress line is narrower than the terminal, so that it can be erased") {
  if (!has_terminals()) return;
  int num_progress = 0;
  for (const std::string& line : whole_lines_of(outcome_in_terminal(endless, 30))) {
    if (!line.starts_with(erase_line + "step ")) continue;
    CAPTURE(line);
    CHECK(line.find('\r', 1) == erase_line.size() + 29);
    ++num_progress;
  }
  CHECK(num_progress >= 2);
}

TEST_CASE("without width, quiet or as JSON Lines there is no progress line") {
  if (!has_terminals()) return;
  for (const auto& outcome :
       {outcome_in_terminal(endless, 0), outcome_in_terminal(endless + "--quiet", 80),
        outcome_in_terminal(endless + "--json", 80)}) {
    CHECK(num_occurrences(outcome.output, "epoch") > 4);
    CHECK(outcome.output.find('\033') == std::string::npos);
  }
}

TEST_CASE("a run that fails on a terminal says why on a line of its own") {
  if (!has_terminals()) return;
  const Outcome outcome = outcome_in_terminal("train --data synthetic:moons", 80);
  CHECK(outcome.exit_code == 2);
  CHECK_THAT(outcome.output, Catch::StartsWith("lockstep: --data: expected"));
}
