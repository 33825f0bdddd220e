#include "base/convert.hpp"

#include <algorithm>

#include "base/visit_dtype.hpp"

namespace lockstep {

void read_as_double(const TensorView& source, std::span<double> values) noexcept {
  visit_floating(source.dtype(), [&]<class T>(TypeTag<T>) {
    std::ranges::transform(source.values<T>(), values.begin(),
                           [](T value) { return static_cast<double>(value); });
  });
}

void write_from_double(std::span<const double> values, const MutableTensorView& target) noexcept {
  visit_floating(target.dtype(), [&]<class T>(TypeTag<T>) {
    std::ranges::transform(values, target.values<T>().begin(),
                           [](double value) { return static_cast<T>(value); });
  });
}

void convert(const TensorView& source, const MutableTensorView& target) noexcept {
  visit_floating(source.dtype(), [&]<class From>(TypeTag<From>) {
    visit_floating(target.dtype(), [&]<class To>(TypeTag<To>) {
      std::ranges::transform(source.values<From>(), target.values<To>().begin(),
                             [](From value) { return static_cast<To>(value); });
    });
  });
}

TensorView converted(const TensorView& source, DType dtype, Tensor& memory) {
  if (source.dtype() == dtype || source.is_null()) return source;
  memory.resize(source.shape(), dtype);
  convert(source, memory);
  return memory;
}

double rounded_to(DType dtype, double value) noexcept {
  return visit_floating(
      dtype, [&]<class T>(TypeTag<T>) { return static_cast<double>(static_cast<T>(value)); });
}

}  // namespace lockstep
