#include "conformance/tensors.hpp"

#include <algorithm>

namespace lockstep::conformance {
namespace {

// Calls `visitor` with a value of the dtype's C++ type.
template <class Visitor>
void visit(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::float32:
      return visitor(float{});
    case DType::float64:
      return visitor(double{});
    case DType::float16:
      return visitor(Float16{});
    case DType::bfloat16:
      return visitor(BFloat16{});
    case DType::int64:
      return visitor(std::int64_t{});
    case DType::boolean:
      return visitor(bool{});
  }
}

}  // namespace

void write(std::span<const double> values, const MutableTensorView& target) {
  visit(target.dtype(), [&]<class T>(T) {
    std::ranges::transform(values, target.values<T>().begin(),
                           [](double value) { return static_cast<T>(value); });
  });
}

Tensor tensor_of(const Array& array, DType dtype) {
  Tensor tensor(array.shape, dtype);
  write(array.values, tensor);
  return tensor;
}

std::vector<double> values_of(const TensorView& tensor) {
  std::vector<double> values;
  visit(tensor.dtype(), [&]<class T>(T) {
    for (const T value : tensor.values<T>()) values.push_back(static_cast<double>(value));
  });
  return values;
}

}  // namespace lockstep::conformance
