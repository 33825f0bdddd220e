#include "comm/handshake.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "comm/build_identity.hpp"
#include "comm/mpi_call.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/environment.hpp"

namespace lockstep {
namespace {

// What must be equal, and where; its layout is for all versions.
struct Record {
  std::array<char, 96> build{};
  std::array<char, 96> mpi{};
  std::array<char, 16> watchdog{};
  std::array<char, 64> host{};

  [[nodiscard]] std::string text() const {
    return fmt::format("lockstep {}, {}, watchdog {}", build.data(), mpi.data(), watchdog.data());
  }
};

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), size - 1), field.begin());
}

Record record_here() {
  Record record;
  put(record.build, build_identity());
  put(record.mpi, mpi_version());
  put(record.watchdog, is_watching() ? "on" : "off");
  put(record.host, host_name());
  return record;
}

// Nonblocking in any case: ranks do not know yet whether others are watching.
template <class Starting, class... Arguments>
void exchange(const Communicator& group, const char* name, Starting starting,
              Arguments... arguments) {
  PendingCall::start(group, Collective{name, starting, starting}, 0, arguments...).finish();
}

std::vector<Record> records_of(const Communicator& group, const Record& mine) {
  std::vector<Record> records(static_cast<std::size_t>(group.size()));
  const int size = sizeof(Record);
  exchange(group, "MPI_Allgather", MPI_Iallgather, &mine, size, MPI_BYTE, records.data(), size,
           MPI_BYTE);
  return records;
}

// Every rank makes the message of the same records, so it is the same everywhere.
[[noreturn]] void throw_difference(const Communicator& group, const std::vector<Record>& records) {
  const auto num_like = [&](const Record& record) {
    return std::ranges::count(records, record.text(), &Record::text);
  };
  const auto most = std::ranges::max_element(records, {}, num_like);
  const auto odd = std::ranges::find_if(
      records, [&](const Record& record) { return record.text() != most->text(); });
  const auto rank = static_cast<int>(odd - records.begin());
  auto origin = std::make_shared<ErrorOrigin>();
  origin->rank = rank;
  origin->num_ranks = group.size();
  origin->is_here = rank == group.rank();
  origin->host = odd->host.data();
  origin->layer = "communicator";
  origin->phase = "handshake";
  origin->cause =
      fmt::format("rank {} on {} runs {}; rank {} on {} runs {}", rank, odd->host.data(),
                  odd->text(), most - records.begin(), most->host.data(), most->text());
  throw_error(ErrorCode::mismatch,
              fmt::format("ranks run different programs: {}. All ranks need the same build of the "
                          "library, the same MPI, and the watchdog on or off alike",
                          origin->cause),
              origin);
}

}  // namespace

void shake_hands(const Communicator& group) {
  if (group.is_solo()) return;
  const Meeting meeting{"communicator", "handshake"};
  const Journal::Place here(meeting);
  const Record mine = record_here();
  const auto hash = static_cast<std::int64_t>(RandomKey(0).with(mine.text()).bits(0));
  // max(h) = ~max(~h) exactly when all h are equal: ~ reverses the order.
  std::array<std::int64_t, 2> words{hash, ~hash};
  exchange(group, "MPI_Allreduce", MPI_Iallreduce, MPI_IN_PLACE, words.data(), 2, MPI_INT64_T,
           MPI_MAX);
  if (words[0] != ~words[1]) throw_difference(group, records_of(group, mine));
}

}  // namespace lockstep
