// Who is to blame, and the words for it.

#include "comm/stall_report.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace lockstep {
namespace {

// A rank that waits for the nth message of a layer.
RankSeen waiting(int rank, std::string_view layer, std::int64_t nth = 1) {
  Beat beat;
  beat.communicator = layer.size();  // any number of its own
  beat.nth = nth;
  beat.step = 7;
  beat.seconds = 2.5;
  std::ranges::copy(layer, beat.layer.begin());
  std::ranges::copy(std::string_view("forward"), beat.phase.begin());
  std::ranges::copy(std::string_view("MPI_Allreduce"), beat.call.begin());
  return {rank, "host" + std::to_string(rank / 2), beat};
}

RankSeen silent(int rank) { return {rank, "host" + std::to_string(rank / 2), std::nullopt}; }

using Ranks = std::vector<int>;

TEST_CASE("stall report: silent ranks are to blame before all others") {
  CHECK(guilty_ranks({0, {waiting(0, "a"), silent(1), waiting(2, "bb")}}) == Ranks{1});
  CHECK(guilty_ranks({3, {silent(0), silent(1), silent(2), waiting(3, "a")}}) == Ranks{0, 1, 2});
}

TEST_CASE("stall report: then those that are at the end of MPI, were they most") {
  CHECK(guilty_ranks(
            {0, {waiting(0, "a"), waiting(1, end_of_mpi.layer), waiting(2, end_of_mpi.layer)}}) ==
        Ranks{1, 2});
}

TEST_CASE("stall report: then those that do not wait where most do") {
  CHECK(guilty_ranks({0, {waiting(0, "a"), waiting(1, "bb"), waiting(2, "a")}}) == Ranks{1});
  CHECK(guilty_ranks({1, {waiting(0, "a"), waiting(1, "a", 2), waiting(2, "a")}}) == Ranks{1});
  CHECK(guilty_ranks({0, {waiting(0, "a"), waiting(1, "bb")}}).empty());
  CHECK(guilty_ranks({0, {waiting(0, "a"), waiting(1, "bb"), waiting(2, "ccc")}}).empty());
  CHECK(guilty_ranks({0, {waiting(0, "a"), waiting(1, "a")}}).empty());
}

TEST_CASE("stall report: the lowest rank that waits for the same speaks") {
  CHECK(speaker_of({2, {waiting(0, "bb"), waiting(1, "a"), waiting(2, "a")}}) == 1);
  CHECK(speaker_of({2, {silent(0), waiting(1, "a", 3), waiting(2, "a")}}) == 2);
}

TEST_CASE("stall report: it says who, where, and for how long") {
  CHECK(stall_text({0, {waiting(0, "a"), silent(1), waiting(2, "a")}}) ==
        "ranks have waited for 2.5 s: rank 1 on host0 gives no sign of life\n"
        "  ranks 0, 2 on host0, host1: at a, forward, step 7 (MPI_Allreduce), for 2.5 s\n"
        "  rank 1 on host0: computes, hangs, is stopped, has left MPI, or cannot be reached\n");
  CHECK(stall_text({0, {waiting(0, "a"), waiting(1, "bb"), waiting(2, "a")}}) ==
        "ranks have waited for 2.5 s: rank 1 on host0 waits elsewhere, at bb, forward, step 7 "
        "(MPI_Allreduce)\n"
        "  ranks 0, 2 on host0, host1: at a, forward, step 7 (MPI_Allreduce), for 2.5 s\n"
        "  rank 1 on host0: at bb, forward, step 7 (MPI_Allreduce), for 2.5 s\n");
}

TEST_CASE("stall report: of many ranks the first ones have names") {
  Stall stall{0, {waiting(0, "a")}};
  for (int rank = 1; rank < 100; ++rank) stall.ranks.push_back(silent(rank));
  const std::string text = stall_text(stall);
  CHECK(text.find("ranks 1, 2, 3, ") != text.npos);
  CHECK(text.find(" and 83 more on ") != text.npos);
}

}  // namespace
}  // namespace lockstep
