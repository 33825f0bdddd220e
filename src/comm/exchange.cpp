#include "comm/exchange.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "base/random.hpp"
#include "comm/begin_allreduce.hpp"
#include "comm/journal.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

// The status words. Sums of them say how many failed and whether all ranks are at the same meeting:
// for fingerprints f of P ranks, P * sum f^2 = (sum f)^2 exactly when all are equal
// (Cauchy-Schwarz). f has 20 bits and f^2 travels in two halves, so every sum is exact, in double
// too, for up to 2^33 ranks.
enum Word : std::size_t { num_failed, fingerprint, square_high, square_low, num_words };

constexpr std::uint64_t half = 1U << 20;

__extension__ using Wide = unsigned __int128;

}  // namespace

Exchange::Exchange(const Communicator& group, std::string layer, std::string phase,
                   std::size_t length, Payload payload)
    : group_(group.is_solo() ? Communicator() : group.dup()),
      meeting_{std::move(layer), std::move(phase), -1},
      name_hash_(RandomKey(0).with(meeting_.layer).with(meeting_.phase).bits(0)),
      num_sent_(num_words + length) {
  if (payload == Payload::doubles)
    doubles_.words.resize(num_words + length);
  else
    integers_.words.resize(num_words + length);
}

template <class T>
std::span<T> Exchange::Message<T>::payload() noexcept {
  return words.empty() ? std::span<T>() : std::span(words).subspan(num_words);
}
template std::span<double> Exchange::Message<double>::payload() noexcept;
template std::span<std::int64_t> Exchange::Message<std::int64_t>::payload() noexcept;

template <class T>
void Exchange::Message<T>::stamp(bool has_failed, std::uint64_t f) noexcept {
  words[num_failed] = has_failed ? T{1} : T{0};
  words[fingerprint] = static_cast<T>(f);
  words[square_high] = static_cast<T>(f * f / half);
  words[square_low] = static_cast<T>(f * f % half);
}

template <class T>
bool Exchange::Message<T>::is_good(int num_ranks) const noexcept {
  if (words[num_failed] != T{0}) return false;
  const Wide sum = static_cast<std::uint64_t>(words[fingerprint]);
  const Wide squares = Wide{static_cast<std::uint64_t>(words[square_high])} * half +
                       static_cast<std::uint64_t>(words[square_low]);
  return static_cast<Wide>(num_ranks) * squares == sum * sum;
}

// Where ranks must stand at the same place, and with what.
std::uint64_t Exchange::place() const noexcept {
  return RandomKey(name_hash_).with(meeting_.step).with(round_).with(content_.fingerprint).bits(0) %
         half;
}

void Exchange::divide(std::size_t num_parts, std::size_t length) noexcept {
  num_parts_ = num_parts;
  num_sent_ = num_words + length;
}

void Exchange::merge(std::int64_t step, const std::optional<Failure>& failure,
                     const Content& content) {
  start(step, failure, content);
  finish();
}

void Exchange::start(std::int64_t step, const std::optional<Failure>& failure,
                     const Content& content) {
  rethrow_if_known(group_, failure);
  meeting_.step = step < 0 ? num_appointments_ : step;
  ++num_appointments_;
  round_ = 0;
  content_ = content;
  if (num_parts_ == 1) return merge_round(failure);
  const Journal::Place here(meeting_);
  stamp(failure);
  if (!group_.is_solo())
    visit_message([&](auto& message) {
      pending_ = begin_allreduce(group_, std::span(message.words).first(num_sent_));
    });
  if (!failure) return;
  pending_.finish();
  judge(failure);
}

void Exchange::finish() {
  if (num_parts_ == 1) return;
  const Journal::Place here(meeting_);
  pending_.finish();
  judge(std::nullopt);
}

void Exchange::merge_again(const std::optional<Failure>& failure) {
  rethrow_if_known(group_, failure);
  ++round_;
  merge_round(failure);
}

void Exchange::merge_round(const std::optional<Failure>& failure) {
  const Journal::Place here(meeting_);
  stamp(failure);
  if (!group_.is_solo())
    visit_message([&](auto& message) {
      allreduce(group_, std::span(message.words).first(num_sent_), Reduction::sum);
    });
  judge(failure);
}

template <class Visit>
void Exchange::visit_message(Visit&& visit) {
  if (integers_.words.empty())
    visit(doubles_);
  else
    visit(integers_);
}

void Exchange::stamp(const std::optional<Failure>& failure) {
  visit_message([&](auto& message) {
    if (failure) std::ranges::fill(message.payload(), 0);
    if (!group_.is_solo()) message.stamp(failure.has_value(), place());
  });
}

// Throws what the merged message says.
void Exchange::judge(const std::optional<Failure>& failure) {
  if (group_.is_solo()) {
    if (failure) raise(failure);
    return;
  }
  visit_message([&](const auto& message) {
    if (!message.is_good(group_.size())) raise(failure);
  });
}

void Exchange::maximum(std::span<double> values) {
  const Journal::Place here(meeting_);
  allreduce(group_, values, Reduction::maximum);
}

void Exchange::raise(const std::optional<Failure>& failure) {
  Meeting meeting = meeting_;
  if (!failure && content_.fingerprint != 0)
    meeting.phase +=
        fmt::format(" with {} {:06x}", content_.name, content_.fingerprint % (1U << 24));
  throw_agreed(group_, meeting, failure);
}

}  // namespace lockstep
