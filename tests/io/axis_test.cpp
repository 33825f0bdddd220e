// Axes show all values, and their ticks are few, even and readable.

#include "io/axis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

// Whether the axis shows all values and has a few ticks, evenly spaced, within it.
bool is_sound(const Axis& axis, const std::vector<double>& values) {
  const auto is_within = [&](double value) {
    return axis.position_of(value) > -1e-5 && axis.position_of(value) < 1.0 + 1e-5;
  };
  if (!(axis.minimum < axis.maximum) || axis.ticks.empty() || axis.ticks.size() > 9) return false;
  for (std::size_t i = 2; i < axis.ticks.size(); ++i) {
    const double step = axis.ticks[1] - axis.ticks[0];
    if (std::abs(axis.ticks[i] - axis.ticks[i - 1] - step) > 1e-5 * step) return false;
  }
  return std::all_of(values.begin(), values.end(), is_within) &&
         std::all_of(axis.ticks.begin(), axis.ticks.end(), is_within);
}

}  // namespace

TEST_CASE("axes are sound for values of any size") {
  const RandomKey key(3);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const double scale = std::pow(10.0, 200.0 * key.uniform(4 * i) - 100.0);
    const double offset = key.bits(4 * i + 1) % 2 == 0 ? 0.0 : scale * key.normal(4 * i + 1);
    std::vector<double> values{offset + scale * key.uniform(4 * i + 2)};
    if (i % 3 != 0) values.push_back(offset + scale * key.uniform(4 * i + 3));
    if (!std::all_of(values.begin(), values.end(), can_be_drawn)) continue;
    CHECK(is_sound(tight_axis(values), values));
    CHECK(is_sound(round_axis(values), values));
  }
}

TEST_CASE("axes are sound for edge cases") {
  const double tiny = std::numeric_limits<double>::denorm_min();
  for (const std::vector<double>& values :
       std::vector<std::vector<double>>{{},
                                        {0.0},
                                        {tiny},
                                        {0.0, tiny},
                                        {-1e100, 1e100},
                                        {1e100},
                                        {1e15, 1e15 + 1.0},
                                        {0.1, std::nextafter(0.1, 1.0)},
                                        {-5.0, -5.0}}) {
    CHECK(is_sound(tight_axis(values), values));
    CHECK(is_sound(round_axis(values), values));
  }
}

TEST_CASE("ticks are the readable ones") {
  CHECK(round_axis(std::vector<double>{0.13, 2.31}).ticks ==
        std::vector<double>{0.0, 0.5, 1.0, 1.5, 2.0, 2.5});
  CHECK(tight_axis(std::vector<double>{1.0, 20.0}).ticks ==
        std::vector<double>{5.0, 10.0, 15.0, 20.0});
  CHECK(tight_axis(std::vector<double>{1.0, 2.0, 3.0}).ticks == std::vector<double>{1.0, 2.0, 3.0});
  CHECK(tight_axis(std::vector<double>{7.0}).ticks.size() >= 1);
}

TEST_CASE("values that cannot be drawn are known") {
  CHECK(can_be_drawn(0.0));
  CHECK(can_be_drawn(-1e38));
  CHECK_FALSE(can_be_drawn(NAN));
  CHECK_FALSE(can_be_drawn(-INFINITY));
  CHECK_FALSE(can_be_drawn(1e300));
}
