// Numbers of 16 bits against the definition of their format.

#include "lockstep/base/float16.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

template <class T>
struct Format;
template <>
struct Format<Float16> {
  static constexpr int fraction_bits = 10, bias = 15;
};
template <>
struct Format<BFloat16> {
  static constexpr int fraction_bits = 7, bias = 127;
};

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Value of a pattern, by the definition of IEEE 754, section 3.4.
template <class T>
double value_of(unsigned pattern) {
  constexpr int fraction_bits = Format<T>::fraction_bits;
  const double sign = pattern >= 0x8000U ? -1.0 : 1.0;
  const unsigned fraction = pattern % (1U << fraction_bits);
  const unsigned exponent = (pattern & 0x7fffU) >> fraction_bits;
  if (exponent == 0x7fffU >> fraction_bits) return fraction == 0 ? sign * infinity : nan;
  const unsigned significand = exponent == 0 ? fraction : fraction + (1U << fraction_bits);
  const int scale = std::max(static_cast<int>(exponent), 1) - Format<T>::bias - fraction_bits;
  return sign * std::ldexp(significand, scale);
}

// The positive finite numbers with the pattern as index, then where infinity would be if the
// exponents went on.
template <class T>
std::vector<double> positive_values() {
  std::vector<double> values;
  for (unsigned pattern = 0; std::isfinite(value_of<T>(pattern)); ++pattern)
    values.push_back(value_of<T>(pattern));
  values.push_back(2.0 * values.back() - values[values.size() - 2]);
  return values;
}

// Pattern of the nearest number, of the two nearest the even one, found by search.
template <class T>
unsigned nearest_pattern(const std::vector<double>& values, double value) {
  const unsigned sign = std::signbit(value) ? 0x8000U : 0U;
  const double magnitude = std::abs(value);
  if (magnitude >= values.back()) return sign | static_cast<unsigned>(values.size() - 1);
  const auto above = static_cast<unsigned>(
      std::upper_bound(values.begin(), values.end(), magnitude) - values.begin());
  const double to_above = values[above] - magnitude;
  const double to_below = magnitude - values[above - 1];
  if (to_below < to_above) return sign | (above - 1);
  if (to_below > to_above) return sign | above;
  return sign | (above % 2 == 0 ? above : above - 1);
}

// Rounds in one step from double, and from float where the value is one.
template <class T>
bool rounds_to(double value, unsigned pattern) {
  const auto from_float = static_cast<float>(value);
  return T(value).bits() == pattern &&
         (static_cast<double>(from_float) != value || T(from_float).bits() == pattern);
}

}  // namespace

TEMPLATE_TEST_CASE("float16: takes two bytes and moves as bytes", "", Float16, BFloat16) {
  STATIC_REQUIRE(sizeof(TestType) == 2);
  STATIC_REQUIRE(std::is_trivially_copyable_v<TestType>);
  STATIC_REQUIRE(std::is_trivially_default_constructible_v<TestType>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<float, TestType>);
  STATIC_REQUIRE(TestType(1.0F) == 1.0F);
  STATIC_REQUIRE(TestType{}.bits() == 0);
}

TEMPLATE_TEST_CASE("float16: every pattern has its value and comes back", "", Float16, BFloat16) {
  for (unsigned pattern = 0; pattern < 0x10000U; ++pattern) {
    const auto number = TestType::of_bits(static_cast<std::uint16_t>(pattern));
    const double expected = value_of<TestType>(pattern);
    INFO("pattern " << pattern);
    const float value = number;
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(value));
      REQUIRE(std::isnan(static_cast<float>(TestType(value))));
      REQUIRE(std::isnan(static_cast<float>(TestType(static_cast<double>(value)))));
      REQUIRE(std::signbit(value) == (pattern >= 0x8000U));
    } else {
      REQUIRE(static_cast<double>(value) == expected);
      REQUIRE(std::signbit(value) == (pattern >= 0x8000U));
      REQUIRE(rounds_to<TestType>(expected, pattern));
    }
  }
}

TEMPLATE_TEST_CASE("float16: between two neighbours the nearer wins, in the middle the even one",
                   "", Float16, BFloat16) {
  const auto values = positive_values<TestType>();
  for (unsigned below = 0; below + 1 < values.size(); ++below) {
    const double middle = (values[below] + values[below + 1]) / 2.0;
    INFO("patterns " << below << " and " << below + 1);
    REQUIRE(rounds_to<TestType>(middle, below + below % 2));
    REQUIRE(rounds_to<TestType>(-middle, 0x8000U + below + below % 2));
    REQUIRE(rounds_to<TestType>(std::nextafter(middle, 0.0), below));
    REQUIRE(rounds_to<TestType>(std::nextafter(middle, infinity), below + 1));
    const float middle_float = static_cast<float>(middle);
    REQUIRE(rounds_to<TestType>(static_cast<double>(std::nextafter(middle_float, 0.0F)), below));
    REQUIRE(rounds_to<TestType>(
        static_cast<double>(std::nextafter(middle_float, static_cast<float>(infinity))),
        below + 1));
  }
}

TEMPLATE_TEST_CASE("float16: any double becomes what a search among all numbers finds", "", Float16,
                   BFloat16) {
  const auto values = positive_values<TestType>();
  const RandomKey key(1);
  for (std::uint64_t i = 0; i < 200000; ++i) {
    const double any = std::bit_cast<double>(key.with("bits").bits(i));
    const double scale = std::exp2(300.0 * key.with("scale").uniform(i) - 150.0);
    const double in_range = scale * key.normal(i);
    for (const double value : {any, in_range, static_cast<double>(static_cast<float>(in_range))})
      if (!std::isnan(value)) {
        INFO(value);
        REQUIRE(rounds_to<TestType>(value, nearest_pattern<TestType>(values, value)));
      }
  }
}

TEMPLATE_TEST_CASE("float16: what is not finite stays so", "", Float16, BFloat16) {
  const auto is_nan = [](TestType number) { return std::isnan(static_cast<float>(number)); };
  CHECK(static_cast<float>(TestType(infinity)) == infinity);
  CHECK(static_cast<float>(TestType(-infinity)) == -infinity);
  CHECK(static_cast<float>(TestType(std::numeric_limits<double>::max())) == infinity);
  CHECK(static_cast<float>(TestType(-std::numeric_limits<float>::max())) == -infinity);
  // The payload of a NaN may lie in bits that go.
  CHECK(is_nan(TestType(std::bit_cast<double>(0x7ff8000000000001ULL))));
  CHECK(is_nan(TestType(std::bit_cast<double>(0xfff8000000000001ULL))));
  CHECK(is_nan(TestType(std::bit_cast<float>(0x7fc00001U))));
  for (int bit = 0; bit < 52; ++bit)
    CHECK(is_nan(TestType(std::bit_cast<double>(0x7ff0000000000000ULL | (1ULL << bit)))));
}

TEST_CASE("float16: the limits are those of the formats") {
  CHECK(static_cast<float>(Float16(65504.0)) == 65504.0F);
  CHECK(static_cast<float>(Float16(65519.99)) == 65504.0F);
  CHECK(std::isinf(static_cast<float>(Float16(65520.0))));
  CHECK(static_cast<float>(Float16(0x1p-24)) == 0x1p-24F);
  CHECK(Float16(0x1p-25).bits() == 0);
  CHECK(BFloat16(std::numeric_limits<float>::max()).bits() == 0x7f80);
  CHECK(static_cast<float>(BFloat16(0x1p-133)) == 0x1p-133F);
  CHECK(BFloat16(-0x1p-134).bits() == 0x8000);
}

}  // namespace lockstep
