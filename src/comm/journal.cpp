#include "comm/journal.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string_view>

#include "comm/dump.hpp"

namespace lockstep {
namespace {

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) noexcept {
  const std::size_t length = std::min(text.size(), size - 1);
  std::copy_n(text.begin(), length, field.begin());
  field[length] = '\0';
}

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string line_of(const JournalEntry& entry, Clock::time_point now) {
  const std::string place = place_text(entry.layer.data(), entry.phase.data(), entry.step);
  const bool is_under_way = entry.end == Clock::time_point();
  return fmt::format("  {:10.6f} s ago{}{}: {} of {} bytes, {} {:.6f} s\n",
                     seconds(now - entry.start), place.empty() ? "" : " at ", place, entry.call,
                     entry.num_bytes, is_under_way ? "waiting for" : "took",
                     seconds((is_under_way ? now : entry.end) - entry.start));
}

}  // namespace

Journal& Journal::of_this_thread() noexcept {
  constinit thread_local Journal journal;
  return journal;
}

Journal::Place::Place(const Meeting& meeting) noexcept : before_(of_this_thread().meeting_) {
  of_this_thread().meeting_ = &meeting;
  dump_if_asked();
}

Journal::Place::~Place() { of_this_thread().meeting_ = before_; }

JournalEntry& Journal::begin() noexcept {
  JournalEntry& entry = entries_[num_calls_++ % capacity];
  entry.end = {};
  if (meeting_ == nullptr) {
    entry.layer[0] = '\0';
    entry.step = -1;
    return entry;
  }
  put(entry.layer, meeting_->layer);
  put(entry.phase, meeting_->phase);
  entry.step = meeting_->step;
  return entry;
}

void Journal::end(std::size_t number, Clock::time_point when) noexcept {
  if (number + capacity >= num_calls_) entries_[number % capacity].end = when;
}

const JournalEntry& Journal::at(std::size_t number) const noexcept {
  return entries_[number % capacity];
}

std::string Journal::text() const {
  const auto now = Clock::now();
  std::string text;
  if (meeting_ != nullptr)
    text += fmt::format("  now at {}\n", place_text(meeting_->layer.c_str(),
                                                    meeting_->phase.c_str(), meeting_->step));
  const std::size_t num_kept = std::min(num_calls_, capacity);
  for (std::size_t number = num_calls_ - num_kept; number < num_calls_; ++number)
    text += line_of(at(number), now);
  return text.empty() ? "  no collective yet\n" : text;
}

std::string place_text(const char* layer, const char* phase, std::int64_t step) {
  if (*layer == '\0') return {};
  std::string text = fmt::format("{}, {}", layer, phase);
  if (step >= 0) text += fmt::format(", step {}", step);
  return text;
}

}  // namespace lockstep
