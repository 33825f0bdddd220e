#include "comm/exchange.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "base/random.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

// The status words. Sums of them say how many failed and whether all ranks are at the same meeting:
// for fingerprints f of P ranks, P * sum f^2 = (sum f)^2 exactly when all are equal
// (Cauchy-Schwarz). f has 20 bits and f^2 travels in two halves, so every sum is exact in double
// for up to 2^33 ranks.
enum Word : std::size_t { num_failed, fingerprint, square_high, square_low, num_words };

constexpr std::uint64_t half = 1U << 20;

__extension__ using Wide = unsigned __int128;

}  // namespace

Exchange::Exchange(const Communicator& group, std::string layer, std::string phase,
                   std::size_t length)
    : group_(group.is_solo() ? Communicator() : group.dup()),
      meeting_{std::move(layer), std::move(phase), -1},
      name_hash_(RandomKey(0).with(meeting_.layer).with(meeting_.phase).bits(0)),
      message_(num_words + length) {}

std::span<double> Exchange::payload() noexcept { return std::span(message_).subspan(num_words); }

void Exchange::write_header(bool has_failed) noexcept {
  const std::uint64_t f =
      RandomKey(name_hash_).with(meeting_.step).with(round_).with(content_.fingerprint).bits(0) %
      half;
  message_[num_failed] = has_failed ? 1.0 : 0.0;
  message_[fingerprint] = static_cast<double>(f);
  message_[square_high] = static_cast<double>(f * f / half);
  message_[square_low] = static_cast<double>(f * f % half);
}

bool Exchange::is_good() const noexcept {
  if (message_[num_failed] != 0.0) return false;
  const Wide sum = static_cast<std::uint64_t>(message_[fingerprint]);
  const Wide squares = Wide{static_cast<std::uint64_t>(message_[square_high])} * half +
                       static_cast<std::uint64_t>(message_[square_low]);
  return static_cast<Wide>(group_.size()) * squares == sum * sum;
}

void Exchange::merge(std::int64_t step, const std::optional<Failure>& failure,
                     const Content& content) {
  rethrow_if_known(group_, failure);
  meeting_.step = step < 0 ? num_appointments_ : step;
  ++num_appointments_;
  round_ = 0;
  content_ = content;
  merge_round(failure);
}

void Exchange::merge_again(const std::optional<Failure>& failure) {
  rethrow_if_known(group_, failure);
  ++round_;
  merge_round(failure);
}

void Exchange::merge_round(const std::optional<Failure>& failure) {
  if (failure) std::ranges::fill(payload(), 0.0);
  if (group_.is_solo()) {
    if (failure) raise(failure);
    return;
  }
  write_header(failure.has_value());
  allreduce(group_, message_, Reduction::sum);
  if (!is_good()) raise(failure);
}

void Exchange::maximum(std::span<double> values) { allreduce(group_, values, Reduction::maximum); }

void Exchange::raise(const std::optional<Failure>& failure) {
  Meeting meeting = meeting_;
  if (!failure && content_.fingerprint != 0)
    meeting.phase +=
        fmt::format(" with {} {:06x}", content_.name, content_.fingerprint % (1U << 24));
  throw_agreed(group_, meeting, failure);
}

}  // namespace lockstep
