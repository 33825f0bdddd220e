// Cuts transfers into pieces that MPI's int counts can hold.

#pragma once

#include <algorithm>
#include <cstddef>

namespace lockstep {

/// Elements that one MPI call carries at most; below INT_MAX and a multiple of the page size.
inline constexpr std::size_t max_chunk = std::size_t{1} << 30;

/// Calls `transfer(first, count)` for consecutive pieces of `total` elements. Nothing to transfer
/// is one empty piece, so that every rank makes the same calls.
template <class Transfer>
void for_each_chunk(std::size_t total, Transfer&& transfer, std::size_t limit = max_chunk) {
  std::size_t first = 0;
  do {
    const std::size_t count = std::min(limit, total - first);
    transfer(first, static_cast<int>(count));
    first += count;
  } while (first < total);
}

}  // namespace lockstep
