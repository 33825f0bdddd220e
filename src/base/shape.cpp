#include "lockstep/base/shape.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"

namespace lockstep {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) {
  if (extents.size() > static_cast<std::size_t>(max_rank))
    throw ArgumentError(
        fmt::format("a shape of {} axes is asked for; at most {} work", extents.size(), max_rank));
  std::copy(extents.begin(), extents.end(), extents_.begin());
  rank_ = static_cast<int>(extents.size());
}

bool Shape::is_valid() const noexcept {
  if (std::any_of(begin(), end(), [](std::int64_t extent) { return extent < 0; })) return false;
  if (std::find(begin(), end(), 0) != end()) return true;
  std::int64_t product = 1;
  for (const std::int64_t extent : *this)
    if (__builtin_mul_overflow(product, extent, &product)) return false;
  return true;
}

std::int64_t Shape::num_elements() const noexcept {
  // Extents beside a zero may have any product.
  if (std::find(begin(), end(), 0) != end()) return 0;
  std::int64_t product = 1;
  for (const std::int64_t extent : *this) product *= extent;
  return product;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  Shape result = *this;
  result.extents_[static_cast<std::size_t>(axis)] = extent;
  return result;
}

Shape Shape::prepended(std::int64_t extent) const {
  if (rank_ == max_rank)
    throw ArgumentError(fmt::format("a shape of {} axes has no room for one more", max_rank));
  Shape result;
  result.rank_ = rank_ + 1;
  result.extents_[0] = extent;
  std::copy(begin(), end(), result.extents_.begin() + 1);
  return result;
}

Shape Shape::without_first() const {
  return Shape(std::span<const std::int64_t>(begin() + 1, end()));
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

}  // namespace lockstep
