#include "comm/watch.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string>

#include "comm/agreement.hpp"
#include "comm/beats.hpp"
#include "comm/dump.hpp"
#include "comm/last_resort.hpp"
#include "comm/stall_report.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/watchdog.hpp"

namespace lockstep {
namespace {

using Seconds = std::chrono::duration<double>;

// Shorter waits are what ranks that are not quite as fast make.
constexpr Seconds patience{0.02};
constexpr Seconds between_looks{0.001};
// How long ranks have for their answers. mpirun needs another second to end them.
constexpr Seconds roll_call_time{1.5};
// How long a rank waits for a lower one that has said that it will end the job.
constexpr Seconds time_for_lower_rank{0.5};
constexpr Seconds time_for_abort{1.0};

WatchdogOptions options;

// A rank that waits for one collective, from the moment when that is worth a thought.
class Watch {
 public:
  Watch(const Communicator::Handle& handle, const JournalEntry& entry, Clock::time_point start)
      : handle_(handle), entry_(entry), start_(start) {}

  // Does what is due after a wait of `waited`.
  void look(Seconds waited) {
    Beats::exchange_all(beat_of(entry_, start_));
    if (waited >= options.stall_timeout) {
      call_roll(Stage::stalled);
      if (waited >= options.stall_timeout + roll_call_time + delay()) end_job();
    } else if (waited >= options.warning && stage_ != Stage::warned) {
      call_roll(Stage::asked);
      if (waited >= options.warning + roll_call_time) warn();
    }
  }

 private:
  enum class Stage { silent, asked, warned, stalled };

  void call_roll(Stage stage) {
    if (stage_ == stage) return;
    stage_ = stage;
    if (handle_.beats) handle_.beats->ask(stage == Stage::stalled);
  }

  [[nodiscard]] Seconds delay() const {
    return handle_.beats && handle_.beats->is_lower_rank_stalled() ? time_for_lower_rank
                                                                   : Seconds(0);
  }

  [[nodiscard]] Stall stall() const {
    const Beats& beats = *handle_.beats;
    Stall result{beats.rank(), {}};
    for (const int rank : beats.ranks_of(handle_.communicator)) {
      auto beat = beats.answers()[static_cast<std::size_t>(rank)];
      if (rank == result.here) beat = beat_of(entry_, start_);
      result.ranks.push_back({rank, beats.host(rank), beat});
    }
    return result;
  }

  [[nodiscard]] std::string text() const {
    if (handle_.beats) return stall_text(stall());
    return fmt::format("{} waits in {} for ranks of which nothing is known yet\n",
                       name_of_this_rank(), entry_.call);
  }

  // The lowest of the ranks that wait for the same speaks.
  void warn() {
    stage_ = Stage::warned;
    if (handle_.beats && speaker_of(stall()) != handle_.beats->rank()) return;
    write_to_stderr(fmt::format("lockstep: warning: {}  the job ends when it is {:.1f} s\n", text(),
                                options.stall_timeout.count()));
  }

  [[noreturn]] void end_job() const {
    const LastResort resort("MPI_Abort", time_for_abort);
    write_to_stderr(fmt::format(
        "lockstep: {}lockstep: the last collectives of {}:\n{}lockstep: ended by the watchdog "
        "after {:.1f} s with exit code {}\n",
        text(), name_of_this_rank(), Journal::of_this_thread().text(),
        options.stall_timeout.count(), exit_stalled));
    MPI_Abort(MPI_COMM_WORLD, exit_stalled);
    std::_Exit(exit_stalled);
  }

  const Communicator::Handle& handle_;
  const JournalEntry entry_;
  Clock::time_point start_;
  Stage stage_ = Stage::silent;
};

}  // namespace

bool detail::is_watchdog_on = true;

void watch(const Communicator::Handle& handle, const JournalEntry& entry, MPI_Request& request,
           const char* call) {
  const auto start = Clock::now();
  Watch watch(handle, entry, start);
  auto last_look = start;
  for (;;) {
    for (int test = 0; test < 16; ++test) {
      int is_done = 0;
      check_mpi(MPI_Test(&request, &is_done, MPI_STATUS_IGNORE), call);
      if (is_done != 0) return;
    }
    dump_if_asked();
    const auto now = Clock::now();
    if (now - start < patience || now - last_look < between_looks) continue;
    last_look = now;
    watch.look(now - start);
  }
}

Seconds longest_call() noexcept {
  return is_watching() ? options.stall_timeout + roll_call_time : Seconds(0);
}

void set_watchdog(const Communicator& group, const WatchdogOptions& wanted) {
  std::optional<Failure> failure;
  const bool are_usable =
      wanted.warning >= Seconds(0) && wanted.stall_timeout >= Seconds(0);  // not NaN
  if (!are_usable)
    failure = Failure{ErrorCode::argument,
                      fmt::format("the watchdog has warning {} s and stall_timeout {} s; both must "
                                  "be numbers >= 0",
                                  wanted.warning.count(), wanted.stall_timeout.count())};
  agree(group, {"watchdog", "options"},
        std::vector<Property>{{"warning", fmt::format("{} s", wanted.warning.count())},
                              {"stall_timeout", fmt::format("{} s", wanted.stall_timeout.count())}},
        failure);
  options = wanted;
  detail::is_watchdog_on = options.stall_timeout > Seconds(0);
}

WatchdogOptions watchdog() noexcept { return options; }

}  // namespace lockstep
