#include "comm/failure.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

// What crosses the ranks; one length for all meetings, so that ranks that stand at different ones
// still understand each other.
struct Record {
  std::int32_t has_failed = 0;
  std::int32_t code = 0;
  std::int64_t step = -1;
  std::int64_t channel = -1;
  std::array<char, 64> host{};
  std::array<char, 96> layer{};
  std::array<char, 32> phase{};
  std::array<char, 512> cause{};
};

bool has_failed(const Record& record) { return record.has_failed != 0; }

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), size - 1), field.begin());
}

Record record_of(const Meeting& meeting, const std::optional<Failure>& failure) {
  const Meeting& place = failure && failure->place ? *failure->place : meeting;
  Record record;
  record.step = place.step;
  put(record.host, host_name());
  put(record.layer, place.layer);
  put(record.phase, place.phase);
  if (failure) {
    record.has_failed = 1;
    record.code = static_cast<std::int32_t>(failure->code);
    record.channel = failure->channel;
    put(record.cause, failure->cause);
  }
  return record;
}

std::string place_of(const Record& record) {
  std::string place = fmt::format("{}, {}", record.layer.data(), record.phase.data());
  if (record.step >= 0) place += fmt::format(", step {}", record.step);
  if (record.channel >= 0) place += fmt::format(", channel {}", record.channel);
  return place;
}

std::shared_ptr<ErrorOrigin> origin_of(const Record& record, std::size_t rank,
                                       std::size_t num_ranks) {
  auto origin = std::make_shared<ErrorOrigin>();
  origin->rank = static_cast<int>(rank);
  origin->num_ranks = static_cast<int>(num_ranks);
  origin->host = record.host.data();
  origin->layer = record.layer.data();
  origin->phase = record.phase.data();
  origin->step = record.step;
  origin->channel = record.channel;
  origin->cause = record.cause.data();
  return origin;
}

[[noreturn]] void throw_first_failure(std::span<const Record> records, std::size_t rank) {
  const Record& record = records[rank];
  auto origin = origin_of(record, rank, records.size());
  const auto num_failed = std::ranges::count_if(records, has_failed);
  std::string message =
      fmt::format("rank {} on {}: {}: {}", rank, origin->host, place_of(record), origin->cause);
  if (num_failed > 1) message += fmt::format(" ({} ranks failed)", num_failed);
  throw_error(static_cast<ErrorCode>(record.code), message, std::move(origin));
}

// Nobody failed, so the ranks disagree about where they are: the first two that differ are named.
[[noreturn]] void throw_different_meetings(std::span<const Record> records) {
  std::size_t other = 1;
  while (other + 1 < records.size() && place_of(records[other]) == place_of(records[0])) ++other;
  auto origin = origin_of(records[other], other, records.size());
  origin->cause = "ranks make different calls";
  throw_error(ErrorCode::mismatch,
              fmt::format("ranks make different calls: rank 0 is at {}; rank {} is at {}. Every "
                          "rank must call the same layers in the same order",
                          place_of(records[0]), other, place_of(records[other])),
              std::move(origin));
}

}  // namespace

Failure current_failure(int num_ranks) {
  try {
    throw;
  } catch (const Error& error) {
    const ErrorOrigin* origin = error.origin();
    if (error.code() == ErrorCode::communication) throw;
    if (origin == nullptr) return {error.code(), error.what()};
    if (origin->num_ranks >= num_ranks) throw;
    // A smaller group agreed; a rank of its own keeps its place, others are in the text.
    return {error.code(), origin->num_ranks == 1 ? origin->cause : error.what(), origin->channel,
            Meeting{origin->layer, origin->phase, origin->step}};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::memory, "out of memory"};
  } catch (const std::exception& error) {
    return {ErrorCode::foreign, error.what()};
  } catch (...) {
    return {ErrorCode::foreign, "an exception that is not a std::exception"};
  }
}

void throw_agreed(const Communicator& group, const Meeting& meeting,
                  const std::optional<Failure>& failure) {
  const Record local = record_of(meeting, failure);
  std::vector<Record> records(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(&local, 1)),
            std::as_writable_bytes(std::span(records)));
  const auto guilty = std::ranges::find_if(records, has_failed);
  if (guilty == records.end()) throw_different_meetings(records);
  throw_first_failure(records, static_cast<std::size_t>(guilty - records.begin()));
}

}  // namespace lockstep
