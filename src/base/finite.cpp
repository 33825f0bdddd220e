#include "base/finite.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/visit_dtype.hpp"

namespace lockstep {

// An exponent of ones, which NaN and infinity have, carries into the sign's place. Without a branch
// in it the loop runs as vector instructions.
bool are_finite(std::span<const double> values) noexcept {
  constexpr std::uint64_t without_sign = ~std::uint64_t{0} >> 1;
  constexpr std::uint64_t least_exponent = std::uint64_t{1} << 52;
  std::uint64_t carries = 0;
  for (const double value : values)
    carries |= (std::bit_cast<std::uint64_t>(value) & without_sign) + least_exponent;
  return carries >> 63 == 0;
}

std::optional<Element> first_nonfinite(const TensorView& values) noexcept {
  if (values.num_elements() == 0) return std::nullopt;
  return visit_floating(values.dtype(), [&]<class T>(TypeTag<T>) -> std::optional<Element> {
    const auto elements = values.values<T>();
    const auto found = std::ranges::find_if(
        elements, [](T value) { return !std::isfinite(static_cast<double>(value)); });
    if (found == elements.end()) return std::nullopt;
    return Element{found - elements.begin(), static_cast<double>(*found)};
  });
}

}  // namespace lockstep
