#include "bench/buffers.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "lockstep/base/error.hpp"

namespace ls = lockstep;

namespace {

// In [-1, 1): a hash by the constants of SplitMix64 (Steele, Lea, Flood 2014).
double noise(std::uint64_t seed, std::int64_t index) {
  std::uint64_t bits = (seed << 48) + static_cast<std::uint64_t>(index) * 0x9e3779b97f4a7c15U;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
  return static_cast<double>(bits >> 11) * 0x1p-52 - 1.0;
}

// Calls `body` with the elements of a tensor, a pointer of their type.
template <class Body>
void visit_elements(const ls::MutableTensorView& tensor, Body&& body) {
  switch (tensor.dtype()) {
    case ls::DType::float32:
      return body(static_cast<float*>(tensor.data()));
    case ls::DType::float64:
      return body(static_cast<double*>(tensor.data()));
    case ls::DType::float16:
      return body(static_cast<ls::Float16*>(tensor.data()));
    case ls::DType::bfloat16:
      return body(static_cast<ls::BFloat16*>(tensor.data()));
    default:
      throw ls::ArgumentError("a floating tensor is needed");
  }
}

template <class ValueAt>
void fill(const ls::MutableTensorView& tensor, const ValueAt& value_at) {
  visit_elements(tensor, [&]<class T>(T* elements) {
    for (std::int64_t i = 0; i < tensor.num_elements(); ++i)
      elements[i] = static_cast<T>(value_at(i));
  });
}

}  // namespace

Buffer::Buffer(const Workload& workload) {
  constexpr std::size_t page = 2U << 20;
  const auto num_bytes =
      static_cast<std::size_t>(workload.num_elements()) * ls::size_of(workload.dtype);
  const std::size_t capacity = (num_bytes + page - 1) / page * page;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(page, capacity)));
  if (memory_ == nullptr) throw ls::MemoryError("out of memory; measure smaller shapes");
  madvise(memory_.get(), capacity, MADV_HUGEPAGE);  // advice may be refused
  std::memset(memory_.get(), 0, capacity);
  view_ = {memory_.get(), workload.dtype, workload.tensor_shape(), workload.num_elements()};
}

void Buffer::Release::operator()(std::byte* memory) const noexcept { std::free(memory); }

Buffers::Buffers(const Workload& workload, int rank)
    : x(workload), residual(workload), dy(workload), y(workload), dx(workload) {
  const auto seed = static_cast<std::uint64_t>(rank) * 3;
  fill(x.view(), [&](std::int64_t i) {
    return noise(seed, i) + 0.25 * static_cast<double>(workload.channel_of(i) % 7);
  });
  fill(residual.view(), [&](std::int64_t i) { return noise(seed + 1, i); });
  fill(dy.view(), [&](std::int64_t i) { return noise(seed + 2, i); });
}

double element_of(const ls::TensorView& tensor, std::int64_t index) {
  switch (tensor.dtype()) {
    case ls::DType::float32:
      return static_cast<const float*>(tensor.data())[index];
    case ls::DType::float64:
      return static_cast<const double*>(tensor.data())[index];
    case ls::DType::float16:
      return static_cast<const ls::Float16*>(tensor.data())[index];
    case ls::DType::bfloat16:
      return static_cast<const ls::BFloat16*>(tensor.data())[index];
    default:
      throw ls::ArgumentError("a floating tensor is needed");
  }
}

void convert(const ls::TensorView& from, const ls::MutableTensorView& to) {
  fill(to, [&](std::int64_t i) { return element_of(from, i); });
}
