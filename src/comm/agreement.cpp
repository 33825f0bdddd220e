#include "comm/agreement.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

constexpr std::size_t record_size = 4096;
using Record = std::array<char, record_size>;

std::string text_of(const Meeting& meeting, std::span<const Property> properties) {
  std::string text = fmt::format("call\t{}, {}\n", meeting.layer, meeting.phase);
  for (const auto& [name, value] : properties) text += fmt::format("{}\t{}\n", name, value);
  return text;
}

std::vector<std::string_view> lines_of(const Record& record) {
  std::vector<std::string_view> lines;
  std::string_view rest(record.data(), strnlen(record.data(), record.size()));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    lines.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

std::string_view value_of(std::string_view line) { return line.substr(line.find('\t') + 1); }
std::string_view name_of(std::string_view line) { return line.substr(0, line.find('\t')); }

struct Difference {
  std::size_t rank;  // the first that differs from rank 0
  std::string_view name, value_here, value_there;
};

Difference difference_of(std::span<const Record> records) {
  const auto reference = lines_of(records[0]);
  for (std::size_t rank = 1; rank < records.size(); ++rank) {
    const auto lines = lines_of(records[rank]);
    for (std::size_t i = 0; i < std::min(lines.size(), reference.size()); ++i)
      if (lines[i] != reference[i])
        return {rank, name_of(reference[i]), value_of(reference[i]), value_of(lines[i])};
    if (lines.size() != reference.size())
      return {rank, "number of properties", "more or fewer", "fewer or more"};
  }
  // Beyond what a record holds.
  return {records.size() - 1, "configuration", "(too long to show)", "(too long to show)"};
}

[[noreturn]] void throw_difference(const Communicator& group, const Meeting& meeting,
                                   const std::string& text) {
  Record local{};
  text.copy(local.data(), local.size() - 1);
  std::vector<Record> records(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(local)), std::as_writable_bytes(std::span(records)));
  const Difference found = difference_of(records);
  auto origin = std::make_shared<ErrorOrigin>();
  origin->rank = static_cast<int>(found.rank);
  origin->num_ranks = group.size();
  origin->layer = meeting.layer;
  origin->phase = meeting.phase;
  origin->cause = fmt::format("{} differs between ranks: rank 0 has {}, rank {} has {}", found.name,
                              found.value_here, found.rank, found.value_there);
  throw_error(ErrorCode::mismatch,
              fmt::format("{}, {}: {}. Every rank must build the same", meeting.layer,
                          meeting.phase, origin->cause),
              origin);
}

}  // namespace

void agree(const Communicator& group, const Meeting& meeting, std::span<const Property> properties,
           const std::optional<Failure>& failure) {
  const std::string text = text_of(meeting, properties);
  const auto hash = static_cast<std::int64_t>(RandomKey(0).with(text).bits(0));
  // max(h) = ~max(~h) exactly when all h are equal: ~ reverses the order.
  std::array<std::int64_t, 3> words{hash, ~hash, failure ? 1 : 0};
  allreduce(group, words, Reduction::maximum);
  if (words[2] != 0) throw_agreed(group, meeting, failure);
  if (words[0] != ~words[1]) throw_difference(group, meeting, text);
}

}  // namespace lockstep
