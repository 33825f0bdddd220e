// Owning storage: aligned, zero at first, usable after whatever happened to it.

#include "lockstep/base/tensor.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

Tensor numbers(std::int64_t count) {
  Tensor result({count}, DType::float64);
  double next = 1.0;
  for (double& value : result.values<double>()) value = next++;
  return result;
}

bool is_empty(const Tensor& tensor) {
  return tensor.num_elements() == 0 && tensor.shape() == Shape{0};
}

TEST_CASE("tensor: memory is aligned to 64 bytes and zero") {
  for (const std::int64_t count : {1, 3, 16, 1000, 100'000})
    for (const DType dtype : {DType::float32, DType::float64, DType::int64}) {
      const Tensor tensor({count}, dtype);
      CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % 64 == 0);
      const auto* bytes = static_cast<const std::byte*>(tensor.data());
      const std::size_t size = static_cast<std::size_t>(count) * size_of(dtype);
      CHECK(std::all_of(bytes, bytes + size, [](std::byte b) { return b == std::byte{0}; }));
    }
}

TEST_CASE("tensor: without a shape it has no elements, with an empty shape one") {
  CHECK(is_empty(Tensor()));
  CHECK(Tensor().dtype() == DType::float32);
  CHECK(Tensor().values<float>().empty());
  CHECK(Tensor(Shape{}).num_elements() == 1);
}

TEST_CASE("tensor: empty tensors can be made, copied, moved and cleared") {
  Tensor empty({0, 5}, DType::float64);
  empty.fill_zero();
  Tensor copy = empty;
  CHECK(copy.shape() == Shape{0, 5});
  CHECK(copy.dtype() == DType::float64);
  CHECK(Tensor::copy_of(empty).shape() == Shape{0, 5});
  CHECK(Tensor(std::move(empty)).shape() == Shape{0, 5});
}

TEST_CASE("tensor: a copy has the elements and shares no memory") {
  const Tensor original = numbers(5);
  Tensor copy = original;
  CHECK(copy.data() != original.data());
  CHECK(std::ranges::equal(copy.values<double>(), original.values<double>()));
  copy.values<double>()[0] = 99.0;
  CHECK(original.values<double>()[0] == 1.0);
}

TEST_CASE("tensor: assignment takes shape, dtype and elements, and reuses memory") {
  Tensor target({10}, DType::float64);
  const void* const memory = target.data();
  const Tensor& same = target;
  target = same;
  CHECK(target.data() == memory);
  const Tensor source = numbers(4);
  target = source;
  CHECK(target.data() == memory);
  CHECK(target.shape() == Shape{4});
  CHECK(target.values<double>()[3] == 4.0);
}

TEST_CASE("tensor: what was moved from is empty and can be used again") {
  Tensor source = numbers(5);
  const void* const memory = source.data();
  Tensor target = std::move(source);
  CHECK(target.data() == memory);
  CHECK(target.values<double>()[4] == 5.0);
  CHECK(is_empty(source));  // NOLINT: that is the point
  source.fill_zero();
  source.resize({3}, DType::int64);
  source.fill_zero();
  CHECK(source.values<std::int64_t>()[2] == 0);

  Tensor assigned({2});
  assigned = std::move(target);
  CHECK(assigned.data() == memory);
  CHECK(is_empty(target));  // NOLINT
  Tensor& same = assigned;
  assigned = std::move(same);
  CHECK(assigned.shape() == Shape{5});
  CHECK(assigned.values<double>()[4] == 5.0);
}

TEST_CASE("tensor: resizing within the capacity keeps the memory, also for another dtype") {
  Tensor tensor({8}, DType::float64);
  const void* const memory = tensor.data();
  tensor.resize({2, 3}, DType::float64);
  CHECK(tensor.data() == memory);
  tensor.resize({0}, DType::float32);
  tensor.resize({16}, DType::float32);
  CHECK(tensor.data() == memory);
  CHECK(tensor.shape() == Shape{16});
  CHECK(tensor.dtype() == DType::float32);
  tensor.resize({17}, DType::float32);
  std::ranges::fill(tensor.values<float>(), 1.0F);
  CHECK(tensor.values<float>().size() == 17);
}

TEST_CASE("tensor: a shape that cannot be leaves the tensor as it was") {
  Tensor tensor = numbers(3);
  const std::int64_t huge = std::int64_t{1} << 40;
  CHECK_THROWS_AS(tensor.resize({-1}, DType::float32), ArgumentError);
  CHECK_THROWS_AS(tensor.resize({huge, huge}, DType::float32), ArgumentError);
  // Countable elements, but not bytes.
  CHECK_THROWS_AS(tensor.resize({std::numeric_limits<std::int64_t>::max()}, DType::float64),
                  ArgumentError);
  CHECK(tensor.shape() == Shape{3});
  CHECK(tensor.dtype() == DType::float64);
  CHECK(tensor.values<double>()[2] == 3.0);
}

TEST_CASE("tensor: memory that cannot be had is an error of its own kind") {
  Tensor tensor = numbers(3);
  CHECK_THROWS_AS(tensor.resize({std::int64_t{1} << 58}, DType::float64), MemoryError);
  CHECK(tensor.values<double>()[2] == 3.0);
}

TEST_CASE("tensor: values and views can be copied into one") {
  const std::vector<float> values{1, 2, 3, 4};
  const Tensor tensor = Tensor::of(std::span(values), {2, 2});
  CHECK(tensor.dtype() == DType::float32);
  CHECK(std::ranges::equal(tensor.values<float>(), values));
  const Tensor row = Tensor::copy_of(TensorView(tensor).rows(1, 1));
  CHECK(row.shape() == Shape{1, 2});
  CHECK(row.values<float>()[0] == 3.0F);
  CHECK_THROWS_AS(Tensor::of(std::span(values), {5}), ArgumentError);
}

}  // namespace
}  // namespace lockstep
