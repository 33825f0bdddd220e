#include "base/finite.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/visit_dtype.hpp"

namespace lockstep {
namespace {

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

// An exponent of ones, which NaN and infinity have, carries into the sign's place. Without a branch
// in them loops over this run as vector instructions.
template <class T>
BitsOf<T> carry_of(T value) noexcept {
  using Bits = BitsOf<T>;
  constexpr Bits without_sign = static_cast<Bits>(~Bits{0}) >> 1;
  constexpr Bits least_exponent = Bits{1} << (std::numeric_limits<T>::digits - 1);
  return (std::bit_cast<Bits>(value) & without_sign) + least_exponent;
}

template <class Bits>
bool is_clear(Bits carries) noexcept {
  return carries >> (8 * sizeof(Bits) - 1) == 0;
}

}  // namespace

bool are_finite(std::span<const double> values) noexcept {
  std::uint64_t carries = 0;
  for (const double value : values) carries |= carry_of(value);
  return is_clear(carries);
}

bool read_if_finite(const TensorView& source, std::span<double> values) noexcept {
  return visit_parameter(source.dtype(), [&]<class T>(TypeTag<T>) {
    const T* from = source.values<T>().data();
    BitsOf<T> carries = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = from[i];
      carries |= carry_of(from[i]);
    }
    return is_clear(carries);
  });
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
