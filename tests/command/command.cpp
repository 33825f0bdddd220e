#include "command/command.hpp"

#include <sys/wait.h>

#include <cstdlib>
#include <sstream>

#include "support/catch.hpp"

namespace lockstep::testing {
namespace {

void replace(std::string& text, std::string_view part, const std::string& by) {
  text.replace(text.find(part), part.size(), by);
}

std::string launcher_of(int num_ranks) {
  if (num_ranks == 0) return "";
  std::string launcher = LOCKSTEP_MPIRUN " ";
  replace(launcher, "NUM_RANKS", std::to_string(num_ranks));
  return launcher;
}

}  // namespace

Outcome outcome_of(const Run& run, const std::filesystem::path& folder) {
  const TemporaryFolder scratch;
  set_content(scratch / "rank.sh", "rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}\n" + run.preamble +
                                       "\nexec " LOCKSTEP_COMMAND " " + run.arguments + "\n");
  std::string command = run.around.empty() ? "{}" : run.around;
  replace(command, "{}", launcher_of(run.num_ranks) + "sh " + (scratch / "rank.sh").string());
  set_content(scratch / "run.sh",
              "for name in $(env | sed -n 's/^\\(LOCKSTEP_[A-Z_]*\\)=.*/\\1/p')\n"
              "do unset $name\ndone\ncd " +
                  folder.string() + "\n" + command + "\n");
  const std::string in_scratch = scratch.path().string() + "/";
  const int status = std::system(("timeout 50 sh " + in_scratch + "run.sh >" + in_scratch +
                                  "output 2>" + in_scratch + "error </dev/null")
                                     .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(scratch / "output"),
          content_of(scratch / "error")};
}

Outcome outcome_of(const Run& run) {
  const TemporaryFolder folder;
  return outcome_of(run, folder.path());
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

int num_occurrences(std::string_view text, std::string_view part) {
  int count = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::vector<nlohmann::json> records_in(const std::string& json_lines) {
  std::vector<nlohmann::json> records;
  for (const std::string& line : lines_of(json_lines))
    records.push_back(nlohmann::json::parse(line));
  return records;
}

std::vector<nlohmann::json> records_of(const std::string& arguments, int num_ranks) {
  const Outcome outcome = outcome_of({arguments + " --json", num_ranks});
  CAPTURE(arguments, num_ranks, outcome.error);
  REQUIRE(outcome.exit_code == 0);
  const auto records = records_in(outcome.output);
  REQUIRE_FALSE(records.empty());
  return records;
}

double last(const std::string& field, const std::string& arguments, int num_ranks) {
  return records_of(arguments, num_ranks).back().at(field).get<double>();
}

void require_refusal(const std::string& arguments, const std::string& message,
                     const std::string& preamble) {
  for (const int num_ranks : {0, 2}) {
    CAPTURE(arguments, num_ranks);
    const Outcome outcome = outcome_of({arguments, num_ranks, preamble});
    CAPTURE(outcome.error);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.output.empty());
    CHECK(num_occurrences(outcome.error, message) == 1);
    CHECK(num_occurrences(outcome.error, "lockstep: ") == 1);
  }
}

}  // namespace lockstep::testing
