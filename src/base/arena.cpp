#include "base/arena.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "base/bytes.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

std::byte* Arena::take(std::size_t size) {
  const std::size_t needed = in_cache_lines(size);
  Mark place = taken_;
  const auto size_left = [&] { return pieces_[place.piece].get_deleter().size - place.used; };
  while (place.piece < pieces_.size() && size_left() < needed) place = {place.piece + 1, 0};
  if (place.piece == pieces_.size()) {
    if (is_unused()) {
      pieces_.clear();
      place = {};
    }
    add_piece(std::max({needed, capacity(), cache_line}));
  }
  taken_ = {place.piece, place.used + needed};
  return pieces_[place.piece].get() + place.used;
}

MutableTensorView Arena::take(const Shape& shape, DType dtype) {
  return {take(size_of(shape, dtype)), dtype, shape, shape.num_elements()};
}

std::size_t Arena::size_of(const Shape& shape, DType dtype) {
  return in_cache_lines(num_bytes_of(shape, dtype));
}

void Arena::reserve(std::size_t size) {
  if (!is_unused() || capacity() >= size) return;
  pieces_.clear();
  add_piece(in_cache_lines(size));
}

void Arena::add_piece(std::size_t size) {
  pieces_.reserve(pieces_.size() + 1);
  std::byte* const memory = take_memory(size);
  if (memory == nullptr) throw MemoryError(fmt::format("no memory for {} bytes", size));
  pieces_.push_back(OwnedMemory(memory, {size}));
}

void Arena::release(const Mark& mark) noexcept {
  taken_ = mark;
  if (!is_unused() || pieces_.size() <= 1) return;
  const std::size_t size = capacity();
  pieces_.clear();
  // Without memory it is empty, and grows again.
  if (std::byte* const memory = take_memory(size)) pieces_.push_back(OwnedMemory(memory, {size}));
}

std::size_t Arena::capacity() const noexcept {
  std::size_t total = 0;
  for (const OwnedMemory& piece : pieces_) total += piece.get_deleter().size;
  return total;
}

Arena& Scratch::arena() noexcept {
  thread_local Arena arena;
  return arena;
}

}  // namespace lockstep
