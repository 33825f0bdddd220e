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

double rounded_to(DType dtype, double value) noexcept {
  return dtype == DType::float32 ? static_cast<double>(static_cast<float>(value)) : value;
}

}  // namespace lockstep
