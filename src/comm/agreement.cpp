#include "comm/agreement.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "comm/journal.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

std::string text_of(const Meeting& meeting, std::span<const Property> properties) {
  std::string text = fmt::format("place\t{}\nphase\t{}\n", meeting.layer, meeting.phase);
  if (meeting.step >= 0) text += fmt::format("step\t{}\n", meeting.step);
  for (const auto& [name, value] : properties) text += fmt::format("{}\t{}\n", name, value);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string_view value_of(std::string_view line) { return line.substr(line.find('\t') + 1); }
std::string_view name_of(std::string_view line) { return line.substr(0, line.find('\t')); }

// A value, or of a long one the part around position `at`.
std::string excerpt_of(std::string_view value, std::size_t at) {
  constexpr std::size_t width = 160;
  if (value.size() <= width) return std::string(value);
  const std::size_t first = at - std::min(at, width / 4);
  return fmt::format("{}{}{}", first > 0 ? "..." : "", value.substr(first, width),
                     value.size() - first > width ? "..." : "");
}

// What makes the first rank that differs from rank 0 differ.
struct Difference {
  std::string name, value, other_value;
};

Difference difference_of(std::string_view text, std::string_view other_text) {
  const auto lines = lines_of(text);
  const auto other_lines = lines_of(other_text);
  const auto [line, other] = std::ranges::mismatch(lines, other_lines);
  if (line == lines.end() || other == other_lines.end())
    // Without place and phase.
    return {"number of properties", std::to_string(lines.size() - 2),
            std::to_string(other_lines.size() - 2)};
  if (name_of(*line) != name_of(*other))
    return {"list of properties", std::string(name_of(*line)), std::string(name_of(*other))};
  const std::string_view value = value_of(*line);
  const std::string_view other_value = value_of(*other);
  const auto at =
      static_cast<std::size_t>(std::ranges::mismatch(value, other_value).in1 - value.begin());
  return {std::string(name_of(*line)), excerpt_of(value, at), excerpt_of(other_value, at)};
}

std::vector<std::string> texts_of_all(const Communicator& group, const std::string& text) {
  std::vector<std::string> texts;
  for (const auto& bytes : allgather_varying(group, std::as_bytes(std::span(text))))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

// Every rank makes the message of the same texts, so it is the same everywhere.
[[noreturn]] void throw_difference(const Communicator& group, const std::string& text) {
  const auto texts = texts_of_all(group, text);
  const auto other = std::ranges::find_if(texts, [&](const auto& t) { return t != texts[0]; });
  const auto rank = other - texts.begin();
  const Difference found = difference_of(texts[0], *other);
  const auto place = lines_of(texts[0]);
  auto origin = std::make_shared<ErrorOrigin>();
  origin->rank = static_cast<int>(rank);
  origin->num_ranks = group.size();
  origin->is_here = origin->rank == group.rank();
  origin->layer = value_of(place[0]);
  origin->phase = value_of(place[1]);
  origin->cause = fmt::format("{} differs between ranks: rank 0 has {}, rank {} has {}", found.name,
                              found.value, rank, found.other_value);
  throw_error(ErrorCode::mismatch,
              fmt::format("{}, {}: {}. All ranks must give the same", origin->layer, origin->phase,
                          origin->cause),
              origin);
}

// One message: whether all ranks are at a meeting of this text, whether all of them assemble, and
// whether one of them failed.
struct Presence {
  bool is_complete;
  bool is_assembled;
  bool has_failed;
};

Presence presence_at(const Communicator& group, const std::string& text, bool assembles,
                     bool has_failed) {
  const auto hash = static_cast<std::int64_t>(RandomKey(0).with(text).bits(0));
  // max(h) = ~max(~h) exactly when all h are equal: ~ reverses the order.
  std::array<std::int64_t, 4> words{hash, ~hash, assembles ? 0 : 1, has_failed ? 1 : 0};
  allreduce(group, words, Reduction::maximum);
  return {words[0] == ~words[1], words[2] == 0, words[3] != 0};
}

}  // namespace

void agree(const Communicator& group, const Meeting& meeting, std::span<const Property> properties,
           const std::optional<Failure>& failure) {
  rethrow_if_known(group, failure);
  const Journal::Place here(meeting);
  const std::string text = text_of(meeting, properties);
  const Presence presence = presence_at(group, text, false, failure.has_value());
  if (presence.has_failed) throw_agreed(group, meeting, failure);
  if (!presence.is_complete) throw_difference(group, text);
}

void assemble(const Communicator& group, const Meeting& meeting, std::optional<Failure> failure) {
  const Journal::Place here(meeting);
  const std::string text = text_of(meeting, {});
  for (;;) {
    const Presence presence = presence_at(group, text, true, failure.has_value());
    const auto heard = attempt([&] {
      if (presence.has_failed) throw_agreed(group, meeting, failure);
      if (!presence.is_complete) throw_difference(group, text);
    });
    if (presence.is_assembled && heard) rethrow(*heard);
    if (presence.is_assembled) return;
    if (!failure) failure = heard;
  }
}

}  // namespace lockstep
