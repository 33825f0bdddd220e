#include "lockstep/base/tensor.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.hpp"
#include "base/memory.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

std::size_t num_bytes_of(const Shape& shape, DType dtype) {
  std::size_t bytes = 0;
  if (!shape.is_valid() || __builtin_mul_overflow(static_cast<std::size_t>(shape.num_elements()),
                                                  size_of(dtype), &bytes))
    throw ArgumentError(fmt::format("a tensor cannot have the shape {}", to_string(shape)));
  return bytes;
}

void Tensor::Release::operator()(std::byte* memory) const noexcept { give_back(memory, size); }

Tensor::Tensor(const Shape& shape, DType dtype) {
  resize(shape, dtype);
  fill_zero();
}

Tensor::Tensor(const Tensor& other) { *this = other; }

Tensor& Tensor::operator=(const Tensor& other) {
  if (this == &other) return *this;
  if (other.memory_ == nullptr) return *this = Tensor();
  resize(other.shape_, other.dtype_);
  const std::size_t bytes = num_bytes_of(shape_, dtype_);
  if (bytes > 0) std::memcpy(memory_.get(), other.memory_.get(), bytes);
  return *this;
}

Tensor::Tensor(Tensor&& other) noexcept { *this = std::move(other); }

Tensor& Tensor::operator=(Tensor&& other) noexcept {
  if (this == &other) return *this;
  memory_ = std::move(other.memory_);
  other.memory_.get_deleter().size = 0;
  dtype_ = other.dtype_;
  shape_ = std::exchange(other.shape_, Shape{0});
  return *this;
}

Tensor Tensor::copy_of(const TensorView& source) {
  source.check("the source of a copy");
  Tensor result;
  result.resize(source.shape(), source.dtype());
  const std::size_t bytes = num_bytes_of(result.shape_, result.dtype_);
  if (bytes > 0) std::memcpy(result.memory_.get(), source.data(), bytes);
  return result;
}

void Tensor::resize(const Shape& shape, DType dtype) {
  // An empty tensor has memory too: views tell by it that the tensor was ever given a shape.
  const std::size_t bytes = std::max<std::size_t>(num_bytes_of(shape, dtype), 1);
  if (bytes > capacity()) {
    std::byte* const memory = take_memory(bytes);
    if (memory == nullptr)
      throw MemoryError(fmt::format("no memory for a {} tensor of shape {} ({} bytes)",
                                    name_of(dtype), to_string(shape), bytes));
    memory_ = {memory, Release{bytes}};
  }
  shape_ = shape;
  dtype_ = dtype;
}

void Tensor::fill_zero() noexcept {
  const std::size_t bytes = static_cast<std::size_t>(num_elements()) * size_of(dtype_);
  if (bytes > 0) std::memset(memory_.get(), 0, bytes);
}

}  // namespace lockstep
