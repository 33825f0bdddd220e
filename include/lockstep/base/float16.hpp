// Numbers of 16 bits, for storage: arithmetic happens in float and double.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace lockstep {

/// A binary floating-point number of 16 bits as IEEE 754 lays them out: sign, exponent, fraction.
/// Made from float or double in one rounding, to nearest and ties to even: what is too large
/// becomes infinity, what is small subnormal or zero, NaN stays NaN. Becomes a float exactly, and
/// on its own, so that it can be read like one.
template <int fraction_bits>
class ShortFloat {
 public:
  ShortFloat() = default;
  explicit constexpr ShortFloat(float value) noexcept : bits_(rounded(value)) {}
  explicit constexpr ShortFloat(double value) noexcept : bits_(rounded(value)) {}

  /// The number of these 16 bits.
  [[nodiscard]] static constexpr ShortFloat of_bits(std::uint16_t bits) noexcept {
    ShortFloat result{};
    result.bits_ = bits;
    return result;
  }
  [[nodiscard]] constexpr std::uint16_t bits() const noexcept { return bits_; }

  constexpr operator float() const noexcept {  // NOLINT: exact, as from float to double
    constexpr int shift = float_fraction_bits - fraction_bits;
    const std::uint32_t magnitude = bits_ & 0x7fffU;
    const std::uint32_t sign = (bits_ & 0x8000U) << 16;
    std::uint32_t result = (magnitude << shift) + exponent_offset<float>();
    if (magnitude >= infinity) result = bits_of(float_limits::infinity()) | (magnitude << shift);
    if constexpr (exponent_offset<float>() != 0) {
      constexpr auto smallest_subnormal = power_of_two<float>(1 - exponent_bias - fraction_bits);
      if (magnitude < smallest_normal)
        result = bits_of(static_cast<float>(magnitude) * smallest_subnormal);
    }
    return std::bit_cast<float>(sign | result);
  }

 private:
  using float_limits = std::numeric_limits<float>;
  static constexpr int float_fraction_bits = float_limits::digits - 1;
  static constexpr int exponent_bias = (1 << (14 - fraction_bits)) - 1;
  static constexpr std::uint32_t smallest_normal = 1U << fraction_bits;
  static constexpr std::uint32_t infinity = 0x7fffU & ~(smallest_normal - 1U);

  template <class Wide>
  using BitsOf = std::conditional_t<sizeof(Wide) == 4, std::uint32_t, std::uint64_t>;
  template <class Wide>
  static constexpr BitsOf<Wide> bits_of(Wide value) noexcept {
    return std::bit_cast<BitsOf<Wide>>(value);
  }

  // 2^exponent, a normal number.
  template <class Wide>
  static constexpr Wide power_of_two(int exponent) noexcept {
    constexpr int bias = std::numeric_limits<Wide>::max_exponent - 1;
    constexpr int digits = std::numeric_limits<Wide>::digits - 1;
    return std::bit_cast<Wide>(static_cast<BitsOf<Wide>>(exponent + bias) << digits);
  }

  // Between the exponent fields of one number in both types.
  template <class Wide>
  static constexpr BitsOf<Wide> exponent_offset() noexcept {
    constexpr int bias = std::numeric_limits<Wide>::max_exponent - 1;
    return static_cast<BitsOf<Wide>>(bias - exponent_bias)
           << (std::numeric_limits<Wide>::digits - 1);
  }

  template <class Wide>
  static constexpr std::uint16_t rounded(Wide value) noexcept {
    using Bits = BitsOf<Wide>;
    using limits = std::numeric_limits<Wide>;
    constexpr int shift = limits::digits - 1 - fraction_bits;  // bits of the fraction that go
    constexpr Bits sign_bit = Bits{1} << (8 * sizeof(Wide) - 1);
    const Bits magnitude = bits_of(value) & ~sign_bit;

    // A carry out of the fraction raises the exponent, at last to infinity.
    const Bits exact = magnitude - exponent_offset<Wide>();
    const Bits half = (Bits{1} << (shift - 1)) - 1 + ((exact >> shift) & 1);
    Bits result = std::min<Bits>((exact + half) >> shift, infinity);
    if constexpr (exponent_offset<Wide>() != 0) {
      // The sum's last bit is the smallest subnormal number: the addition rounds.
      constexpr Wide sum_scale = power_of_two<Wide>(limits::digits - exponent_bias - fraction_bits);
      if (magnitude < bits_of(power_of_two<Wide>(1 - exponent_bias)))
        result = bits_of(std::bit_cast<Wide>(magnitude) + sum_scale) - bits_of(sum_scale);
    }
    if (magnitude > bits_of(limits::infinity()))
      result = infinity | (smallest_normal >> 1) | ((magnitude >> shift) & (smallest_normal - 1));
    return static_cast<std::uint16_t>(result |
                                      ((bits_of(value) & sign_bit) >> (8 * sizeof(Wide) - 16)));
  }

  std::uint16_t bits_;
};

/// binary16: 11 significant bits, up to 65504.
using Float16 = ShortFloat<10>;
/// The upper half of a float: 8 significant bits, the range of float.
using BFloat16 = ShortFloat<7>;

}  // namespace lockstep
