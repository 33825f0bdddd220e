// Memory that is taken in blocks and given back in the reverse order, without the heap.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// Blocks of memory, one behind the other. It grows to the largest need that it has seen, and is
/// one piece whenever nothing is taken; up to that need taking allocates nothing.
class Arena {
 public:
  /// How much is taken.
  struct Mark {
    std::size_t piece = 0;
    std::size_t used = 0;  ///< bytes of that piece
  };

  /// `size` bytes, aligned to a cache line, until they are released. Blocks that were taken before
  /// stay where they are. Throws MemoryError when memory cannot be had.
  [[nodiscard]] std::byte* take(std::size_t size);
  /// The same for a tensor. Throws ArgumentError on an invalid shape.
  [[nodiscard]] MutableTensorView take(const Shape& shape, DType dtype);
  /// Bytes that such a tensor takes. Throws ArgumentError on an invalid shape.
  [[nodiscard]] static std::size_t size_of(const Shape& shape, DType dtype);

  /// Memory in one piece for what is taken from now on. An arena in use stays as it is.
  /// Throws MemoryError as take().
  void reserve(std::size_t size);

  [[nodiscard]] Mark mark() const noexcept { return taken_; }
  /// Gives back all that was taken since the mark.
  void release(const Mark& mark) noexcept;
  void release() noexcept { release(Mark()); }

  /// Bytes, taken or not.
  [[nodiscard]] std::size_t capacity() const noexcept;

 private:
  [[nodiscard]] bool is_unused() const noexcept { return taken_.piece == 0 && taken_.used == 0; }
  void add_piece(std::size_t size);

  std::vector<OwnedMemory> pieces_;
  Mark taken_;  // pieces before are full, those behind are empty
};

/// Blocks of the arena of this thread, for as long as this lives: memory of which only what runs
/// now needs some. Those of one thread end in the reverse order of their beginnings.
class Scratch {
 public:
  Scratch() noexcept : before_(arena().mark()) {}
  ~Scratch() { arena().release(before_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// As Arena::take().
  [[nodiscard]] std::byte* take(std::size_t size) { return arena().take(size); }
  [[nodiscard]] MutableTensorView take(const Shape& shape, DType dtype) {
    return arena().take(shape, dtype);
  }

 private:
  [[nodiscard]] static Arena& arena() noexcept;

  Arena::Mark before_;
};

}  // namespace lockstep
