// Runs program.cpp with one rank failing in every way, and shows a table of what came of it.
//
//   suite            a choice that takes about a minute
//   suite --long     every fault in every place on first, middle and last of 2 to 5 ranks
//
// Ends with 1 unless every fault was detected, the guilty rank and the place were named, no process
// stayed alive and no run took longer than it may.

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/temporary_folder.hpp"

using namespace lockstep::testing;

namespace {

using Clock = std::chrono::steady_clock;

// What a case showed.
struct Verdict {
  bool is_detected = false;
  bool is_rank_named = false;
  bool is_layer_named = false;
  bool can_name_layer = true;
  bool is_clean = false;  // survived: the state was kept; ended: no process was left
  double seconds = 0.0;
};

// A row of the table: all cases of one fault in one place.
struct Row {
  int num_cases = 0;
  int num_detected = 0;
  int num_rank_named = 0;
  int num_layer_named = 0;
  bool can_name_layer = true;
  int num_clean = 0;
  int min_ranks = 1000;
  int max_ranks = 0;
  double slowest = 0.0;
};

class Table {
 public:
  void add(const std::string& fault, const std::string& place, int num_ranks,
           const Verdict& verdict) {
    const std::lock_guard lock(mutex_);
    const auto key = std::pair(fault, place);
    if (!rows_.contains(key)) order_.push_back(key);
    Row& row = rows_[key];
    ++row.num_cases;
    row.num_detected += verdict.is_detected;
    row.num_rank_named += verdict.is_rank_named;
    row.num_layer_named += verdict.is_layer_named;
    row.can_name_layer = verdict.can_name_layer;
    row.num_clean += verdict.is_clean;
    row.min_ranks = std::min(row.min_ranks, num_ranks);
    row.max_ranks = std::max(row.max_ranks, num_ranks);
    row.slowest = std::max(row.slowest, verdict.seconds);
  }

  // True when everything held in all cases.
  bool show() const {
    std::printf("%-22s %-12s %6s %6s %9s %6s %6s %6s %8s\n", "fault", "place", "ranks", "cases",
                "detected", "rank", "layer", "clean", "slowest");
    bool is_good = !rows_.empty();
    for (const auto& key : order_) {
      const Row& row = rows_.at(key);
      const auto share = [&](int count) {
        is_good = is_good && count == row.num_cases;
        return count == row.num_cases ? std::string("all")
                                      : std::to_string(count) + "/" + std::to_string(row.num_cases);
      };
      const std::string ranks =
          row.min_ranks == row.max_ranks
              ? std::to_string(row.min_ranks)
              : std::to_string(row.min_ranks) + "-" + std::to_string(row.max_ranks);
      std::printf("%-22s %-12s %6s %6d %9s %6s %6s %6s %6.1f s\n", key.first.c_str(),
                  key.second.c_str(), ranks.c_str(), row.num_cases, share(row.num_detected).c_str(),
                  share(row.num_rank_named).c_str(),
                  row.can_name_layer ? share(row.num_layer_named).c_str() : "-",
                  share(row.num_clean).c_str(), row.slowest);
    }
    return is_good;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Row> rows_;
  std::vector<std::pair<std::string, std::string>> order_;
};

struct Outcome {
  int exit_code = 0;
  std::string output;
  std::string error;
  int num_left = 0;  // processes of the run that are still there
  double seconds = 0.0;
};

// Processes whose environment holds `mark`.
int num_processes_with(const std::string& mark) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc"))
    if (content_of(entry.path() / "environ").find(mark) != std::string::npos) ++count;
  return count;
}

Outcome outcome_of(std::string arguments, int num_ranks, int seconds) {
  static std::atomic<int> number{0};
  const std::string mark =
      "LOCKSTEP_FAULT_CASE=" + std::to_string(::getpid()) + "." + std::to_string(number++);
  const TemporaryFolder folder;
  const std::string in_folder = folder.path().string() + "/";
  if (const auto at = arguments.find("FOLDER"); at != std::string::npos)
    arguments.replace(at, 6, in_folder + "checkpoints");
  std::string mpirun = LOCKSTEP_MPIRUN " ";
  mpirun.replace(mpirun.find("NUM_RANKS"), 9, std::to_string(num_ranks));
  const std::string command = mark + " timeout -s KILL " + std::to_string(seconds) + " " + mpirun +
                              LOCKSTEP_FAULT_PROGRAM " " + arguments + " >" + in_folder +
                              "output 2>" + in_folder + "error </dev/null";
  const auto start = Clock::now();
  const int status = std::system(command.c_str());
  Outcome outcome;
  outcome.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.output = content_of(folder / "output");
  outcome.error = content_of(folder / "error");
  // What mpirun has killed needs a moment to go.
  for (int i = 0; i < 20 && (outcome.num_left = num_processes_with(mark)) > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return outcome;
}

void complain(const std::string& what, const Outcome& outcome) {
  std::fprintf(stderr, "%s: exit code %d after %.1f s, %d processes left\n%s\n", what.c_str(),
               outcome.exit_code, outcome.seconds, outcome.num_left, outcome.error.c_str());
}

// One launch for all faults that a run survives; the program judges them.
void survive(int num_ranks, Table& table) {
  const Outcome outcome = outcome_of("survive", num_ranks, 60);
  bool is_complete = outcome.exit_code == 0 && outcome.num_left == 0;
  std::istringstream lines(outcome.output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string fault, place;
    int guilty = 0;
    Verdict verdict;
    std::getline(fields, fault, '\t');
    std::getline(fields, place, '\t');
    fields >> guilty >> verdict.is_detected >> verdict.is_rank_named >> verdict.is_layer_named >>
        verdict.is_clean >> verdict.seconds;
    // Errors of what ranks do alike must come at once.
    verdict.is_detected = verdict.is_detected && verdict.seconds < 1.0;
    table.add(fault, place, num_ranks, verdict);
    is_complete = is_complete && verdict.is_detected && verdict.is_rank_named &&
                  verdict.is_layer_named && verdict.is_clean;
  }
  table.add("all of the above", "", num_ranks,
            {.is_detected = is_complete,
             .is_rank_named = is_complete,
             .is_layer_named = is_complete,
             .is_clean = is_complete,
             .seconds = outcome.seconds});
  if (!is_complete) complain("survive on " + std::to_string(num_ranks) + " ranks", outcome);
}

struct Ending {
  std::string fault;
  std::string place;  // empty: in the user's own calls
  int num_ranks;
  int guilty;
};

bool is_stall(const std::string& fault) {
  return fault != "killed" && fault != "segfault" && fault != "abort" && fault != "exit";
}

// Where the others wait when a rank never leaves `place`.
std::string next_meeting(const std::string& place) {
  static const std::map<std::string, std::string> names{
      {"data", "first"},       {"forward 0", "first"},  {"forward 1", "second"},
      {"forward 2", "second"}, {"loss", "second"},      {"backward 2", "second"},
      {"backward 1", "first"}, {"backward 0", "model"}, {"evaluation", "evaluation"},
      {"save", "drift check"}};
  return names.at(place);
}

Verdict verdict_of(const Ending& ending) {
  const std::string quoted = "'" + ending.fault + "' ";
  const std::string arguments =
      ending.place.empty()
          ? "calls " + quoted + std::to_string(ending.guilty)
          : "end " + quoted + "'" + ending.place + "' " + std::to_string(ending.guilty) + " FOLDER";
  const Outcome outcome = outcome_of(arguments, ending.num_ranks, 30);
  const auto names = [&](const std::string& text) {
    return outcome.error.find(text) != std::string::npos;
  };
  Verdict verdict;
  verdict.seconds = outcome.seconds;
  verdict.is_clean = outcome.num_left == 0;
  if (is_stall(ending.fault)) {
    const std::string rank = "rank " + std::to_string(ending.guilty) + " on ";
    // Of two ranks that wait for each other in different places either may be wrong.
    const bool is_symmetric = ending.place.empty() && ending.num_ranks == 2;
    verdict.is_rank_named = names((is_symmetric ? "" : "s: ") + rank);
    // The program's stall timeout, 3 s, and a start on a busy machine.
    verdict.is_detected = outcome.exit_code == 75 && outcome.seconds < 1.0 + 3.0 + 3.0;
    verdict.is_layer_named = ending.place.empty() ? names("first") && names("second")
                                                  : names(next_meeting(ending.place));
  } else {
    // Open MPI ends a job when a rank dies, and says which, in one of two ways; no rank can know in
    // which layer.
    verdict.is_rank_named = names("rank " + std::to_string(ending.guilty) + " with PID ") ||
                            names(",1]," + std::to_string(ending.guilty) + "]");
    verdict.is_detected =
        outcome.exit_code != 0 && outcome.exit_code != 75 && outcome.seconds < 10.0;
    verdict.can_name_layer = false;
  }
  if (!(verdict.is_detected && verdict.is_rank_named &&
        (verdict.is_layer_named || !verdict.can_name_layer) && verdict.is_clean))
    complain(ending.fault + " at '" + ending.place + "', rank " + std::to_string(ending.guilty) +
                 " of " + std::to_string(ending.num_ranks),
             outcome);
  return verdict;
}

std::vector<int> guilty_ranks(int num_ranks) {
  if (num_ranks == 2) return {0, 1};
  return {0, num_ranks / 2, num_ranks - 1};
}

const std::vector<std::string> ends{"killed", "segfault", "abort",          "exit",
                                    "hang",   "stopped",  "finalizes early"};
const std::vector<std::string> ending_places{"data",       "forward 0",  "forward 1",  "loss",
                                             "backward 1", "backward 0", "evaluation", "save"};

std::vector<Ending> all_endings() {
  std::vector<Ending> all;
  for (int num_ranks = 2; num_ranks <= 5; ++num_ranks)
    for (const int guilty : guilty_ranks(num_ranks)) {
      for (const std::string& fault : ends)
        for (const std::string& place : ending_places)
          all.push_back({fault, place, num_ranks, guilty});
      for (const char* fault : {"layer skipped", "other order"})
        all.push_back({fault, "", num_ranks, guilty});
    }
  return all;
}

// Every fault on first, middle and last rank; numbers of ranks and places take turns.
std::vector<Ending> some_endings() {
  std::vector<Ending> some;
  std::size_t turn = 0;
  const auto add = [&](const std::string& fault, const std::string& place) {
    for (const std::size_t position : {0U, 1U, 2U}) {
      const int num_ranks = position == 1 ? 3 : 2 + static_cast<int>(turn % 3);
      const auto guilty = guilty_ranks(num_ranks);
      some.push_back({fault, place, num_ranks, guilty[std::min(position, guilty.size() - 1)]});
      ++turn;
    }
  };
  std::size_t place = 1;
  for (const std::string& fault : ends) add(fault, ending_places[place++ % ending_places.size()]);
  add("layer skipped", "");
  add("other order", "");
  return some;
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_long = argc == 2 && std::string(argv[1]) == "--long";
  Table table;
  for (int num_ranks = 1; num_ranks <= (is_long ? 5 : 4); ++num_ranks) survive(num_ranks, table);

  // Such runs mostly wait, so several go at once.
  const std::vector<Ending> endings = is_long ? all_endings() : some_endings();
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> runners;
  for (int i = 0; i < 3; ++i)
    runners.emplace_back([&] {
      for (std::size_t j = next++; j < endings.size(); j = next++) {
        const Ending& ending = endings[j];
        table.add(ending.fault, ending.place, ending.num_ranks, verdict_of(ending));
      }
    });
  runners.clear();
  return table.show() ? 0 : 1;
}
