#include "conformance/case.hpp"

#include <bit>
#include <cstring>

namespace lockstep::conformance {
namespace {

static_assert(std::endian::native == std::endian::little, "blobs are little-endian");

template <class T>
double value_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return static_cast<double>(value);
}

}  // namespace

std::string name_in_format(DType dtype) { return dtype == DType::float32 ? "f32" : "f64"; }

Array StoredArray::load() const {
  Array array{shape, {}};
  array.values.reserve(static_cast<std::size_t>(shape.num_elements()));
  const std::size_t size = size_of(dtype);
  const auto num_stored = static_cast<std::size_t>(shape.num_elements() / num_repeats);
  for (std::int64_t repeat = 0; repeat < num_repeats; ++repeat)
    for (std::size_t i = 0; i < num_stored; ++i) {
      const char* const bytes = blob->data() + offset + i * size;
      array.values.push_back(dtype == DType::float32 ? value_at<float>(bytes)
                                                     : value_at<double>(bytes));
    }
  return array;
}

}  // namespace lockstep::conformance
