#include "comm/failure.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "comm/journal.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

// A rank's share in a failure: none, told of it by a smaller group, or its own.
enum class Share : std::int32_t { none, told, own };

// What crosses the ranks; one length for all meetings, so that ranks that stand at different ones
// still understand each other.
struct Record {
  Share share = Share::none;
  std::int32_t code = 0;
  std::int64_t step = -1;
  std::int64_t channel = -1;
  std::array<char, 64> host{};
  std::array<char, 96> layer{};
  std::array<char, 32> phase{};
  std::array<char, 512> cause{};
};

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), size - 1), field.begin());
}

Record record_of(const Meeting& meeting, const std::optional<Failure>& failure) {
  Record record;
  record.step = meeting.step;
  put(record.host, host_name());
  put(record.layer, meeting.layer);
  put(record.phase, meeting.phase);
  if (!failure) return record;
  record.share = Share::own;
  record.code = static_cast<std::int32_t>(failure->code);
  record.channel = failure->channel;
  put(record.cause, failure->cause);
  return record;
}

// The record of an error that a smaller group agreed on.
Record record_of(const Failure& failure) {
  const ErrorOrigin& origin = *failure.origin;
  Record record;
  record.share = origin.is_here ? Share::own : Share::told;
  record.code = static_cast<std::int32_t>(failure.code);
  record.step = origin.step;
  record.channel = origin.channel;
  put(record.host, origin.host);
  put(record.layer, origin.layer);
  put(record.phase, origin.phase);
  put(record.cause, origin.cause);
  return record;
}

std::string place_of(const Record& record) {
  std::string place = fmt::format("{}, {}", record.layer.data(), record.phase.data());
  if (record.step >= 0) place += fmt::format(", step {}", record.step);
  if (record.channel >= 0) place += fmt::format(", channel {}", record.channel);
  return place;
}

ErrorOrigin origin_of(const Record& record, std::size_t rank, const Communicator& group) {
  return {.rank = static_cast<int>(rank),
          .num_ranks = group.size(),
          .is_here = static_cast<int>(rank) == group.rank(),
          .host = record.host.data(),
          .layer = record.layer.data(),
          .phase = record.phase.data(),
          .step = record.step,
          .channel = record.channel,
          .cause = record.cause.data()};
}

[[noreturn]] void throw_record(const Communicator& group, std::span<const Record> records,
                               std::size_t rank) {
  const Record& record = records[rank];
  auto origin = std::make_shared<ErrorOrigin>(origin_of(record, rank, group));
  // In a group of one the rank would say nothing, or something else than in the groups around it.
  const std::string who = group.is_solo() ? "" : fmt::format("rank {} on {}: ", rank, origin->host);
  std::string message = fmt::format("{}{}: {}", who, place_of(record), origin->cause);
  const auto num_failed =
      std::ranges::count_if(records, [](const Record& r) { return r.share == Share::own; });
  if (num_failed > 1) message += fmt::format(" ({} ranks failed)", num_failed);
  throw_error(static_cast<ErrorCode>(record.code), message, std::move(origin));
}

// Nobody failed, so the ranks disagree about where they are: the first two that differ are named.
[[noreturn]] void throw_different_meetings(const Communicator& group,
                                           std::span<const Record> records) {
  const std::string first = place_of(records[0]);
  const auto found =
      std::ranges::find_if(records, [&](const Record& r) { return place_of(r) != first; });
  if (found == records.end())
    throw_error(ErrorCode::mismatch,
                fmt::format("{}: the ranks do not agree, and none says what it failed at", first),
                std::make_shared<ErrorOrigin>(origin_of(records[0], 0, group)));
  const auto rank = static_cast<std::size_t>(found - records.begin());
  auto origin = std::make_shared<ErrorOrigin>(origin_of(*found, rank, group));
  origin->cause = "ranks make different calls";
  throw_error(ErrorCode::mismatch,
              fmt::format("ranks make different calls: rank 0 is at {}; rank {} is at {}. Every "
                          "rank must call the same layers in the same order",
                          first, rank, place_of(*found)),
              std::move(origin));
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    if (error.is_agreed())
      return {error.code(), error.what(), error.origin()->channel,
              std::make_shared<const ErrorOrigin>(*error.origin())};
    if (error.code() == ErrorCode::communication) throw;
    return {error.code(), error.what(), -1};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::memory, "out of memory", -1};
  } catch (const std::exception& error) {
    return {ErrorCode::foreign, error.what(), -1};
  } catch (...) {
    return {ErrorCode::foreign, "an exception that is not a std::exception", -1};
  }
}

void rethrow(const Failure& failure) { throw_error(failure.code, failure.cause, failure.origin); }

void rethrow_if_known(const Communicator& group, const std::optional<Failure>& failure) {
  if (failure && failure->origin && failure->num_informed() >= group.size()) rethrow(*failure);
}

void throw_agreed(const Communicator& group, const Meeting& meeting,
                  const std::optional<Failure>& failure) {
  const Journal::Place here(meeting);
  const bool has_place = failure && failure->place;
  const Record local = failure && failure->origin
                           ? record_of(*failure)
                           : record_of(has_place ? *failure->place : meeting, failure);
  std::vector<Record> records(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(&local, 1)), std::as_writable_bytes(std::span(records)));
  for (const Share share : {Share::own, Share::told})
    if (const auto guilty = std::ranges::find(records, share, &Record::share);
        guilty != records.end())
      throw_record(group, records, static_cast<std::size_t>(guilty - records.begin()));
  throw_different_meetings(group, records);
}

}  // namespace lockstep
