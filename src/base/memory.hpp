// Where tensors and arenas have their memory from.

#pragma once

#include <cstddef>
#include <memory>

namespace lockstep {

constexpr std::size_t cache_line = 64;                   ///< bytes; so is all memory aligned
constexpr std::size_t huge_page = std::size_t{2} << 20;  ///< bytes; so is memory of that size

/// The next multiple of a cache line.
[[nodiscard]] constexpr std::size_t in_cache_lines(std::size_t size) noexcept {
  return (size + cache_line - 1) / cache_line * cache_line;
}

/// `size` bytes from the heap, or null. Memory of a huge page and more asks the system for such
/// pages: it costs fewer page faults when it is new, and fewer misses of the TLB afterwards.
[[nodiscard]] std::byte* take_memory(std::size_t size) noexcept;

/// `size` as it was taken; null is nothing.
void give_back(std::byte* memory, std::size_t size) noexcept;

struct GiveBack {
  std::size_t size = 0;
  void operator()(std::byte* memory) const noexcept { give_back(memory, size); }
};

/// Memory that somebody owns; the deleter knows its size.
using OwnedMemory = std::unique_ptr<std::byte[], GiveBack>;

}  // namespace lockstep
