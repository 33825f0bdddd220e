// What is said about ranks that do not come.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/beats.hpp"

namespace lockstep {

/// A rank as seen by one that has waited for it: empty beat: it gave no sign of life.
struct RankSeen {
  int rank = 0;
  std::string host;
  std::optional<Beat> beat;
};

/// The ranks that a stalled collective consists of, in their order, this one among them.
struct Stall {
  int here = 0;  ///< this rank
  std::vector<RankSeen> ranks;
};

/// Where ranks meet that have nothing more to do.
inline const Meeting end_of_mpi{"environment", "end of MPI"};

/// The ranks that are to blame: those that are silent; else those at the end of MPI; else those
/// that do not wait where most do. Empty when that says nothing.
[[nodiscard]] std::vector<int> guilty_ranks(const Stall& stall);

/// The lowest rank that waits for the same as this one.
[[nodiscard]] int speaker_of(const Stall& stall);

/// A line that names the guilty ranks, and a line for each place where ranks wait.
[[nodiscard]] std::string stall_text(const Stall& stall);

}  // namespace lockstep
