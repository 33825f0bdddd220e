// Signs of life: ranks that wait ask each other where they are.

#pragma once

#include <mpi.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/journal.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Where a rank waits, as it crosses the ranks.
struct Beat {
  std::int64_t roll_call = 0;   ///< the asker's number of it
  std::int64_t is_stalled = 0;  ///< 1: the asker is about to end the job
  std::uint64_t communicator = 0;
  std::int64_t nth = 0;
  std::int64_t step = -1;
  double seconds = 0.0;  ///< how long it has waited
  std::array<char, 24> call{};
  std::array<char, 64> layer{};
  std::array<char, 32> phase{};
};

/// The beat of a rank that has waited for the collective `entry` since `start`.
[[nodiscard]] Beat beat_of(const JournalEntry& entry, Clock::time_point start);

/// A control communicator for a communicator and all that are made of it, or for all there are.
/// Nothing passes through it as long as nobody waits unduly.
class Beats {
 public:
  /// Collective.
  explicit Beats(const Communicator& group);
  ~Beats();
  Beats(const Beats&) = delete;
  Beats& operator=(const Beats&) = delete;

  /// From now on `beats`, which is of all ranks of MPI_COMM_WORLD, serves every new communicator of
  /// theirs: a rank that has none left still answers. The first one stays until end_sharing().
  static void share(const std::shared_ptr<Beats>& beats);
  static void end_sharing() noexcept;
  /// What is shared, where it knows all `members`; equal on all of them. May be null.
  [[nodiscard]] static std::shared_ptr<Beats> shared_by(MPI_Comm members);

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] const std::string& host(int rank) const {
    return hosts_[static_cast<std::size_t>(rank)];
  }

  /// Asks all other ranks where they are. Answers to earlier questions do not count any more.
  void ask(bool is_stalled);

  /// Answers the questions that have come on any control communicator of this process, and takes
  /// in the answers to this rank's.
  static void exchange_all(const Beat& here);

  /// By rank; empty where none has come. None of this rank itself.
  [[nodiscard]] std::span<const std::optional<Beat>> answers() const noexcept { return answers_; }

  /// True when a lower rank has said that it is about to end the job.
  [[nodiscard]] bool is_lower_rank_stalled() const noexcept { return is_lower_rank_stalled_; }

  /// The ranks here of the members of another communicator; MPI_UNDEFINED for strangers.
  [[nodiscard]] std::vector<int> ranks_of(MPI_Comm members) const;

 private:
  struct Outgoing {
    Beat beat;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void exchange(const Beat& here);
  void drop_sent_messages();
  void send(const Beat& beat, int to, int tag);

  Communicator group_;
  int rank_;
  std::vector<std::string> hosts_;
  std::vector<std::optional<Beat>> answers_;
  std::int64_t roll_call_ = 0;
  bool is_lower_rank_stalled_ = false;
  std::vector<std::unique_ptr<Outgoing>> outgoing_;  // MPI may still read them
};

}  // namespace lockstep
