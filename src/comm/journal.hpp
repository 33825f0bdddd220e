// What this rank waits for, and its last collectives.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/failure.hpp"

namespace lockstep {

using Clock = std::chrono::steady_clock;

/// One collective: where in the program, which one, and when. Nothing in it points to what may be
/// gone by the time it is read.
struct JournalEntry {
  std::array<char, 64> layer{};
  std::array<char, 32> phase{};
  std::int64_t step = -1;
  const char* call = "";             ///< a literal
  std::size_t num_bytes = 0;         ///< that this rank contributes
  std::uint64_t communicator = 0;    ///< equal on all of its ranks
  std::int64_t nth = 0;              ///< collective of the communicator
  Clock::time_point start{}, end{};  ///< end: 0 while it is under way
};

/// The last collectives of a thread, of which most have one.
class Journal {
 public:
  [[nodiscard]] static Journal& of_this_thread() noexcept;

  /// Where the collectives that follow belong to, as long as it lives.
  class Place {
   public:
    explicit Place(const Meeting& meeting) noexcept;
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    const Meeting* before_;
  };

  /// Makes room for a collective that begins; the entry knows where it belongs to and is to be
  /// filled in. Does not allocate.
  [[nodiscard]] JournalEntry& begin() noexcept;
  /// Names the collective that began last.
  [[nodiscard]] std::size_t number() const noexcept { return num_calls_ - 1; }
  void end(std::size_t number, Clock::time_point when) noexcept;

  /// The collective `number`, as long as fewer than `capacity` have begun since.
  [[nodiscard]] const JournalEntry& at(std::size_t number) const noexcept;

  /// Where the rank is, and what it did last, in lines.
  [[nodiscard]] std::string text() const;

  static constexpr std::size_t capacity = 16;

 private:
  const Meeting* meeting_ = nullptr;
  std::size_t num_calls_ = 0;
  std::array<JournalEntry, capacity> entries_;
};

/// "layer 'a', forward, step 3"; empty where no meeting is known.
[[nodiscard]] std::string place_text(const char* layer, const char* phase, std::int64_t step);

}  // namespace lockstep
