// One scheduled message per step: sums of numbers with a status header in front.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/failure.hpp"
#include "comm/mpi_call.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Something besides the place that ranks must have in common at a merge, such as random numbers.
struct Content {
  const char* name = "";
  std::uint64_t fingerprint = 0;  ///< 0: nothing
};

/// What a message consists of. Sums of integers are the same in any order.
enum class Payload : std::uint8_t { doubles, integers };

/// The merge of one layer and phase: a communicator of its own for life, and a message length that
/// all ranks know.
///
/// Every message begins with status words, so that a failure anywhere is known everywhere after
/// the message that was due anyway. A rank that failed still sends (zeros and its flag); then a
/// second, fixed-size message gives all ranks the same error.
class Exchange {
 public:
  /// `layer` and `phase` name it in errors. Collective.
  Exchange(const Communicator& group, std::string layer, std::string phase, std::size_t length,
           Payload payload = Payload::doubles);

  /// Where this rank puts its contribution, and finds the sums after merge(); empty where the
  /// payload is of the other kind.
  [[nodiscard]] std::span<double> payload() noexcept { return doubles_.payload(); }
  [[nodiscard]] std::span<std::int64_t> integers() noexcept { return integers_.payload(); }

  [[nodiscard]] const Communicator& group() const noexcept { return group_; }

  /// From now on what is merged comes in so many equal parts, each an appointment and a message of
  /// its own that has the first `length` words of the payload. Between start() and finish() of one
  /// of several parts this rank goes on: they are MPI_Iallreduce. The same on all ranks, and not
  /// within a step.
  void divide(std::size_t num_parts, std::size_t length) noexcept;
  [[nodiscard]] std::size_t num_parts() const noexcept { return num_parts_; }

  /// Sums the payload over the ranks: one MPI_Allreduce, none in a group of one. With a failure on
  /// any rank all ranks throw that error; one that the whole group throws already is rethrown
  /// without a message. `step` < 0 stands for the number of earlier appointments. Collective.
  ///
  /// When `content` is given, its fingerprint must be equal on all ranks: MismatchError otherwise.
  void merge(std::int64_t step, const std::optional<Failure>& failure, const Content& content = {});

  /// merge() in two halves, between which nobody may touch the payload. A failure of this rank is
  /// thrown by start(), on the other ranks by finish(). Collective.
  void start(std::int64_t step, const std::optional<Failure>& failure, const Content& content = {});
  void finish();

  /// Further rounds of the same appointment, when the sums merged so far ask all ranks for them.
  /// No schedule knows of these rounds, and the others wait in them: a rank that fails in between
  /// must go on to the next merge_again() with its failure. Collective.
  void merge_again(const std::optional<Failure>& failure = std::nullopt);
  void maximum(std::span<double> values);

  /// After a merge whose sums show every rank that something is wrong: the failure of the lowest
  /// rank that has one is thrown on all. At least one rank must have one. Collective.
  [[noreturn]] void raise(const std::optional<Failure>& failure);

  /// How often merge() or start() was called; equal on all ranks when a step begins.
  [[nodiscard]] std::int64_t num_appointments() const noexcept { return num_appointments_; }

 private:
  // Status words, then the payload.
  template <class T>
  struct Message {
    std::vector<T> words;

    [[nodiscard]] std::span<T> payload() noexcept;
    /// Fills in the status words.
    void stamp(bool has_failed, std::uint64_t fingerprint) noexcept;
    [[nodiscard]] bool is_good(int num_ranks) const noexcept;
  };

  /// Calls visit() with the message that there is.
  template <class Visit>
  void visit_message(Visit&& visit);
  void stamp(const std::optional<Failure>& failure);
  void judge(const std::optional<Failure>& failure);
  void merge_round(const std::optional<Failure>& failure);
  [[nodiscard]] std::uint64_t place() const noexcept;

  Communicator group_;
  Meeting meeting_;
  std::uint64_t name_hash_;
  std::int64_t num_appointments_ = 0;
  std::int64_t round_ = 0;   // of the present appointment
  Content content_;          // likewise
  Message<double> doubles_;  // one of the two is empty
  Message<std::int64_t> integers_;
  std::size_t num_parts_ = 1;
  std::size_t num_sent_;  // words of a message
  PendingCall pending_;   // the part under way
};

}  // namespace lockstep
