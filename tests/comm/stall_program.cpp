// A job in which a rank does not come, for stall_test.cpp, which says what must happen.
//
//   stall_program FAULT RANK STALL_TIMEOUT FOLDER
//
// Every rank writes its process number to FOLDER/RANK.

#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/exchange.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/environment.hpp"
#include "lockstep/comm/watchdog.hpp"

namespace {

using namespace lockstep;
using namespace std::chrono_literals;

struct Job {
  explicit Job(const Communicator& group)
      : world(group),
        first(world, "layer 'first'", "forward", 8),
        second(world, "layer 'second'", "forward", 8) {}

  void step(std::int64_t number) {
    first.merge(number, std::nullopt);
    second.merge(number, std::nullopt);
  }

  const Communicator& world;
  Exchange first, second;
};

// What the guilty rank does in step 3.
void fail(const std::string& fault, Job& job) {
  if (fault == "hang") std::this_thread::sleep_for(1h);
  if (fault == "stop") std::raise(SIGSTOP);
  if (fault == "skip") job.second.merge(3, std::nullopt);
  if (fault == "order") {
    job.second.merge(3, std::nullopt);
    job.first.merge(3, std::nullopt);
  }
}

void run_into(const std::string& fault, int guilty, const Communicator& world) {
  Job job(world);
  for (std::int64_t number = 0; number < 3; ++number) job.step(number);
  if (world.rank() == guilty) {
    fail(fault, job);
    if (fault == "end") return;  // and so to the end of the environment
  }
  if (fault == "split") {
    if (world.rank() == guilty) std::this_thread::sleep_for(1h);
    (void)world.split(0);
  }
  if (fault == "dup") {
    if (world.rank() == guilty) std::this_thread::sleep_for(1h);
    (void)world.dup();
  }
  job.step(3);
  if (fault == "leave" && world.rank() == guilty) std::this_thread::sleep_for(1h);
}

// Half of the ranks wait in a group of their own, where nobody is to blame.
void stall_in_groups(int guilty, const Communicator& world) {
  const Communicator half = world.split(world.rank() % 2);
  Exchange exchange(half, "layer 'half'", "backward", 4);
  if (world.rank() == guilty) std::this_thread::sleep_for(1h);
  exchange.merge(0, std::nullopt);
  std::array<double, 1> sum{};
  allreduce(world, sum, Reduction::sum);
}

// Late by so much that there is a warning, which names it, and nothing else.
void come_late(int guilty, const Communicator& world) {
  Job job(world);
  if (world.rank() == guilty) std::this_thread::sleep_for(3s);
  job.step(0);
}

// Signals that come while others wait, and before a collective.
void dump(int asked, const Communicator& world) {
  dump_collectives_on_signal();
  Job job(world);
  job.step(0);
  const int process = getpid();
  std::vector<int> processes(static_cast<std::size_t>(world.size()));
  allgather(world, std::as_bytes(std::span(&process, 1)),
            std::as_writable_bytes(std::span(processes)));
  if (world.rank() != asked) {
    std::this_thread::sleep_for(300ms);
    kill(processes[static_cast<std::size_t>(asked)], SIGUSR2);
    std::this_thread::sleep_for(300ms);
  }
  job.step(1);
  if (world.rank() != asked) std::raise(SIGUSR2);
  job.step(2);
}

void run(const std::string& fault, int guilty, const Communicator& world) {
  if (fault == "groups") return stall_in_groups(guilty, world);
  if (fault == "late") return come_late(guilty, world);
  if (fault == "dump") return dump(guilty, world);
  run_into(fault, guilty, world);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) return 2;
  Environment environment(argc, argv);
  const Communicator world = Communicator::world();
  set_watchdog(world, {.warning = std::chrono::milliseconds(300),
                       .stall_timeout = std::chrono::duration<double>(std::atof(argv[3]))});
  std::ofstream(std::string(argv[4]) + "/" + std::to_string(world.rank())) << getpid();
  run(argv[1], std::atoi(argv[2]), world);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
