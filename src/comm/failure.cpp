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

[[noreturn]] void throw_record(const Record& record, int rank, int num_failed) {
  auto origin = std::make_shared<ErrorOrigin>();
  *origin = {rank,        record.host.data(), record.layer.data(), record.phase.data(),
             record.step, record.channel,     record.cause.data()};
  std::string message =
      fmt::format("rank {} on {}: {}: {}", rank, origin->host, place_of(record), origin->cause);
  if (num_failed > 1) message += fmt::format(" ({} ranks failed)", num_failed);
  throw_error(static_cast<ErrorCode>(record.code), message, std::move(origin));
}

// Nobody failed, so the ranks disagree about where they are: the first two that differ are named.
[[noreturn]] void throw_different_meetings(std::span<const Record> records) {
  std::size_t other = 1;
  while (other + 1 < records.size() && place_of(records[other]) == place_of(records[0])) ++other;
  auto origin = std::make_shared<ErrorOrigin>();
  const Record& record = records[other];
  *origin = {static_cast<int>(other), record.host.data(),
             record.layer.data(),     record.phase.data(),
             record.step,             -1,
             "ranks make different calls"};
  throw_error(ErrorCode::mismatch,
              fmt::format("ranks make different calls: rank 0 is at {}; rank {} is at {}. Every "
                          "rank must call the same layers in the same order",
                          place_of(records[0]), other, place_of(record)),
              std::move(origin));
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    if (error.is_agreed() || error.code() == ErrorCode::communication) throw;
    return {error.code(), error.what(), -1};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::memory, "out of memory", -1};
  } catch (const std::exception& error) {
    return {ErrorCode::foreign, error.what(), -1};
  } catch (...) {
    return {ErrorCode::foreign, "an exception that is not a std::exception", -1};
  }
}

void throw_agreed(const Communicator& group, const Meeting& meeting,
                  const std::optional<Failure>& failure) {
  const Record local = record_of(meeting, failure);
  std::vector<Record> records(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(&local, 1)),
            std::as_writable_bytes(std::span(records)));
  const auto has_failed = [](const Record& record) { return record.has_failed != 0; };
  const auto guilty = std::find_if(records.begin(), records.end(), has_failed);
  if (guilty == records.end()) throw_different_meetings(records);
  throw_record(*guilty, static_cast<int>(guilty - records.begin()),
               static_cast<int>(std::count_if(records.begin(), records.end(), has_failed)));
}

}  // namespace lockstep
