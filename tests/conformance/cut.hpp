// Ways to cut the global batch of a case over ranks.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conformance/case.hpp"
#include "lockstep/parallel/strategy.hpp"

namespace lockstep::conformance {

/// What becomes of a batch whose extent is not the sum of the sizes.
enum class Remainder : std::uint8_t {
  even,       ///< parts that differ by at most one
  first_rank  ///< all of it for rank 0
};

/// One way to run a case on the ranks there are.
struct Cut {
  bool is_shared = false;           ///< false: every rank has the whole batch for itself
  int axis = 0;                     ///< along which batches are cut
  std::vector<std::int64_t> sizes;  ///< one per rank, or none
  Remainder remainder = Remainder::even;
};

/// Every split of the case for so many ranks, or one way when there is none. A batch stays whole on
/// one rank, and where channels would be cut.
[[nodiscard]] std::vector<Cut> cuts_of(const Case& one, int num_ranks);

/// The part of `rank` when `extent` elements lie along the axis.
[[nodiscard]] Shard part_of(const Cut& cut, std::int64_t extent, int rank, int num_ranks);

/// Elements of a row-major array along an axis.
[[nodiscard]] Array slice(const Array& array, int axis, const Shard& part);

/// The cut in words, "split 3+0+1".
[[nodiscard]] std::string to_string(const Cut& cut);

}  // namespace lockstep::conformance
