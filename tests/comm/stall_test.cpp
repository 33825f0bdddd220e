// What the watchdog does to a job in which a rank does not come. No MPI here: the jobs are started
// by mpirun, several at once since they mostly wait.

#define CATCH_CONFIG_RUNNER
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace lockstep::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double stall_timeout = 1.0;  // seconds
constexpr double time_to_end = 3.0;    // that a stalled job has
constexpr double time_to_start = 2.0;  // for mpirun, several of which start at once

struct Job {
  std::string fault;
  int num_ranks;
  int guilty;
  std::string says = {};       // what stderr must say, between "|"
  std::string mpi_fault = {};  // see support/mpi_faults.cpp
};

struct Outcome {
  int exit_code = 0;
  double seconds = 0.0;
  std::string error;
  bool is_process_left = false;
};

std::string replaced(std::string text, std::string_view part, const std::string& by) {
  const auto at = text.find(part);
  return at == text.npos ? text : text.replace(at, part.size(), by);
}

std::string mpirun(int num_ranks) {
  return replaced(LOCKSTEP_MPIRUN " ", "NUM_RANKS", std::to_string(num_ranks));
}

// One that is dead but not yet buried by its parent does not live.
bool is_alive(const std::string& process) {
  const std::string status = content_of("/proc/" + process + "/stat");
  const auto name_end = status.rfind(')');
  return name_end != status.npos && status.substr(name_end, 4) != ") Z ";
}

// Those that mpirun has killed need a moment to die.
bool vanishes(const std::string& process) {
  for (int attempt = 0; attempt < 50 && is_alive(process); ++attempt)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !is_alive(process);
}

bool is_any_process_left(const TemporaryFolder& folder, int num_ranks) {
  for (int rank = 0; rank < num_ranks; ++rank) {
    const std::string process = content_of(folder / std::to_string(rank));
    if (process.empty()) return true;  // what has no number cannot be watched
    if (!vanishes(process)) return true;
  }
  return false;
}

Outcome outcome_of(const std::string& command, int num_ranks, const TemporaryFolder& folder) {
  const auto start = Clock::now();
  const int status =
      std::system(("timeout -k 1 30 " + command + " >" + (folder / "output").string() + " 2>" +
                   (folder / "error").string() + " </dev/null")
                      .c_str());
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, seconds, content_of(folder / "error"),
          is_any_process_left(folder, num_ranks)};
}

Outcome outcome_of(const Job& job, double timeout) {
  const TemporaryFolder folder;
  const std::string around =
      job.mpi_fault.empty()
          ? ""
          : "env LD_PRELOAD=" LOCKSTEP_MPI_FAULTS " MPI_FAULT='" + job.mpi_fault + "' ";
  return outcome_of(mpirun(job.num_ranks) + around + LOCKSTEP_STALL_PROGRAM " " + job.fault + " " +
                        std::to_string(job.guilty) + " " + std::to_string(timeout) + " " +
                        folder.path().string(),
                    job.num_ranks, folder);
}

std::vector<Outcome> outcomes_of(const std::vector<Job>& jobs, double timeout) {
  std::vector<std::future<Outcome>> running;
  for (const Job& job : jobs)
    running.push_back(std::async(std::launch::async, [&] { return outcome_of(job, timeout); }));
  std::vector<Outcome> outcomes;
  for (auto& outcome : running) outcomes.push_back(outcome.get());
  return outcomes;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, '|');) parts.push_back(part);
  return parts;
}

// Where several ranks end at once, mpirun 4.1 now and then waits for ever in its own
// PMIx_server_finalize: all ranks are gone then, and it was killed by the time limit.
bool is_mpirun_stuck(const Outcome& outcome) {
  return outcome.exit_code == 137 && !outcome.is_process_left &&
         contains(outcome.error, "ends with exit code 75");
}

void require_end(const std::vector<Job>& jobs) {
  auto outcomes = outcomes_of(jobs, stall_timeout);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const Job& job = jobs[i];
    Outcome& outcome = outcomes[i];
    for (int retry = 0; retry < 2 && is_mpirun_stuck(outcome); ++retry)
      outcome = outcome_of(job, stall_timeout);
    CAPTURE(job.fault, job.num_ranks, job.guilty, outcome.error, outcome.seconds);
    CHECK(outcome.exit_code == 75);
    CHECK(outcome.seconds < stall_timeout + time_to_end + time_to_start);
    CHECK_FALSE(outcome.is_process_left);
    for (const std::string& part : parts_of(job.says)) {
      CAPTURE(part);
      CHECK(contains(outcome.error, part));
    }
  }
}

const std::string at_first = "at layer 'first', forward, step 3 (MPI_Allreduce)";
const std::string at_second = "at layer 'second', forward, step 3 (MPI_Allreduce)";

TEST_CASE("a rank that gives no sign of life is named, and where the others wait") {
  require_end({{"hang", 2, 0, "s: rank 0 on |gives no sign of life|rank 1 on |" + at_first},
               {"hang", 4, 3, "s: rank 3 on |gives no sign of life|ranks 0, 1, 2 on |" + at_first},
               {"stop", 3, 1, "s: rank 1 on |gives no sign of life|ranks 0, 2 on |" + at_first}});
}

TEST_CASE("a rank that waits elsewhere is named, and both places") {
  require_end(
      {{"order", 3, 2,
        "s: rank 2 on |waits elsewhere, " + at_second + "|ranks 0, 1 on |" + at_first},
       {"skip", 3, 0, "s: rank 0 on |waits elsewhere, |'second'|ranks 1, 2 on |" + at_first},
       {"order", 2, 1, "different places|rank 0 on |" + at_first + "|rank 1 on |" + at_second}});
}

TEST_CASE("a rank that ends early is named, and one that never ends") {
  require_end(
      {{"end", 3, 1, "s: rank 1 on |waits elsewhere, at environment, end of MPI|ranks 0, 2 on "},
       {"end", 2, 0, "s: rank 0 on |waits elsewhere, at environment, end of MPI|rank 1 on "},
       {"leave", 3, 2, "s: rank 2 on |gives no sign of life|at environment, end of MPI"}});
}

TEST_CASE("new communicators are waited for like messages") {
  require_end({{"split", 3, 2, "s: rank 2 on |gives no sign of life|at communicator, split"},
               {"dup", 3, 0, "s: rank 0 on |gives no sign of life|MPI_Comm_dup"},
               {"groups", 4, 3, "s: rank 3 on |gives no sign of life"}});
}

TEST_CASE("a call of MPI that cannot be watched ends the process when it does not come back") {
  require_end(
      {{"groups", 3, -1, "MPI_Comm_split did not come back", "rank=1 call=Comm_split do=hang"},
       {"none", 3, -1, "MPI_Finalize did not come back", "rank=2 call=Finalize do=hang"}});
}

TEST_CASE("a rank that comes late makes a warning that names it, and a dump goes on") {
  const auto outcomes = outcomes_of({{"late", 3, 1}, {"dump", 3, 2}}, 30.0);
  CAPTURE(outcomes[0].error, outcomes[1].error);
  CHECK(outcomes[0].exit_code == 0);
  CHECK(contains(outcomes[0].error, "warning: ranks have waited for "));
  CHECK(contains(outcomes[0].error, "s: rank 1 on "));
  CHECK(outcomes[1].exit_code == 0);
  for (const char* rank : {"0", "1", "2"})
    CHECK(contains(outcomes[1].error, "the last collectives of rank " + std::string(rank)));
  CHECK(
      contains(outcomes[1].error, "'first', forward, step 1: MPI_Allreduce of 96 bytes, waiting"));
}

TEST_CASE("ranks with different builds are refused at the start, by rank and host") {
  const TemporaryFolder folder;
  const Outcome outcome = outcome_of(mpirun(2) + LOCKSTEP_STALL_PROGRAM " none 0 5 " +
                                         folder.path().string() + " : -n 1 " LOCKSTEP_OTHER_PROGRAM,
                                     0, folder);
  CAPTURE(outcome.error);
  CHECK(outcome.exit_code != 0);
  CHECK(contains(outcome.error, "ranks run different programs: rank 2 on "));
  CHECK(contains(outcome.error, "All ranks need the same build"));
}

}  // namespace
}  // namespace lockstep::testing

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
