// Random numbers that are a pure function of their key and position.

#include "base/random.hpp"

#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr std::uint64_t num_samples = 200'000;

// Mean over the samples of value_at(i).
template <class Value>
double mean_of(Value&& value_at) {
  double sum = 0.0;
  for (std::uint64_t i = 0; i < num_samples; ++i) sum += value_at(i);
  return sum / static_cast<double>(num_samples);
}

// Five standard errors of the mean of values with this variance: exceeded once in two million
// independent tries, and these tries are always the same ones.
double five_sigma(double variance) {
  return 5.0 * std::sqrt(variance / static_cast<double>(num_samples));
}

TEST_CASE("random: numbers depend on key and position only") {
  const RandomKey key = RandomKey(7).with("kernel").with(std::int64_t{3});
  const std::uint64_t later = key.bits(1000);
  for (std::uint64_t i = 0; i < 10; ++i) CHECK(key.bits(i) == RandomKey(key).bits(i));
  CHECK(RandomKey(7).with("kernel").with(std::int64_t{3}).bits(1000) == later);
}

TEST_CASE("random: known bits stay, for saved seeds must give the same networks") {
  // The first two are those of SplitMix64 with seed 0.
  CHECK(RandomKey(0).bits(0) == 0xe220a8397b1dcdafULL);
  CHECK(RandomKey(0).bits(1) == 0x6e789e6aa1b965f4ULL);
  CHECK(RandomKey(42).with("dense/kernel").bits(5) == 0xfb67ede581b851d4ULL);
  CHECK(RandomKey(42).with(std::int64_t{-1}).bits(0) == 0x22dc56b40c22697dULL);
  CHECK(RandomKey(1).uniform(2) == 0x1.c0cd7f0f6bcf6p-2);
}

TEST_CASE("random: bits can be computed when compiling") {
  STATIC_REQUIRE(RandomKey(1).with("a").bits(0) != RandomKey(1).with("b").bits(0));
}

TEST_CASE("random: signed and unsigned values of a key are the same value") {
  CHECK(RandomKey(1).with(std::int64_t{9}).bits(0) == RandomKey(1).with(std::uint64_t{9}).bits(0));
}

TEST_CASE("random: neighbouring keys share no number") {
  std::set<std::uint64_t> seen;
  std::size_t num_drawn = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::int64_t value = -10; value < 10; ++value)
      for (std::uint64_t i = 0; i < 50; ++i, ++num_drawn)
        seen.insert(RandomKey(seed).with(value).bits(i));
  CHECK(seen.size() == num_drawn);
}

TEST_CASE("random: the order of what is mixed in matters") {
  CHECK(RandomKey(1).with("a").with("b").bits(0) != RandomKey(1).with("b").with("a").bits(0));
  CHECK(RandomKey(1).with("ab").bits(0) != RandomKey(1).with("a").with("b").bits(0));
  CHECK(RandomKey(1).with("").bits(0) != RandomKey(1).bits(0));
}

TEST_CASE("random: uniform numbers lie in [0, 1) with the moments of that distribution") {
  const RandomKey key(3);
  for (std::uint64_t i = 0; i < num_samples; ++i) {
    const double u = key.uniform(i);
    if (!(u >= 0.0 && u < 1.0)) FAIL("uniform(" << i << ") = " << u);
  }
  CHECK(std::abs(mean_of([&](auto i) { return key.uniform(i); }) - 0.5) < five_sigma(1.0 / 12.0));
  const auto square = [&](std::uint64_t i) { return std::pow(key.uniform(i) - 0.5, 2); };
  CHECK(std::abs(mean_of(square) - 1.0 / 12.0) < five_sigma(1.0 / 180.0));
}

TEST_CASE("random: each bit is set half of the time") {
  const RandomKey key(5);
  for (unsigned bit = 0; bit < 64; ++bit) {
    const double share =
        mean_of([&](auto i) { return static_cast<double>(key.bits(i) >> bit & 1U); });
    CHECK(std::abs(share - 0.5) < five_sigma(0.25));
  }
}

TEST_CASE("random: normal numbers have the moments of the normal distribution") {
  const RandomKey key(11);
  const auto moment = [&](int power) {
    return mean_of([&](auto i) { return std::pow(key.normal(i), power); });
  };
  CHECK(std::abs(moment(1)) < five_sigma(1.0));
  CHECK(std::abs(moment(2) - 1.0) < five_sigma(2.0));
  CHECK(std::abs(moment(3)) < five_sigma(15.0));
  CHECK(std::abs(moment(4) - 3.0) < five_sigma(96.0));
  const double beyond_two =
      mean_of([&](auto i) { return std::abs(key.normal(i)) > 2.0 ? 1.0 : 0.0; });
  CHECK(std::abs(beyond_two - std::erfc(std::sqrt(2.0))) < five_sigma(0.0455));
}

TEST_CASE("random: families of different keys, and neighbours in one, do not correlate") {
  const RandomKey a = RandomKey(1).with("a");
  const RandomKey b = RandomKey(1).with("b");
  const RandomKey next = RandomKey(2).with("a");
  CHECK(std::abs(mean_of([&](auto i) { return a.normal(i) * b.normal(i); })) < five_sigma(1.0));
  CHECK(std::abs(mean_of([&](auto i) { return a.normal(i) * next.normal(i); })) < five_sigma(1.0));
  CHECK(std::abs(mean_of([&](auto i) { return a.normal(i) * a.normal(i + 1); })) < five_sigma(1.0));
  // Numbers at one position of consecutive keys: seeds 0, 1, 2, ... are what people choose.
  const auto of_seed = [](std::uint64_t seed) { return RandomKey(seed).normal(0); };
  CHECK(std::abs(mean_of(of_seed)) < five_sigma(1.0));
  CHECK(std::abs(mean_of([&](auto i) { return of_seed(i) * of_seed(i + 1); })) < five_sigma(1.0));
}

}  // namespace
}  // namespace lockstep
