// The rule of the tolerances.

#include "conformance/comparison.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace lockstep::conformance;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

bool is_right(double got, double expected, const Tolerance& tolerance = {}) {
  const std::vector<double> gots{1.0, got};
  const std::vector<double> expecteds{1.0, expected};
  return compare(gots, expecteds, tolerance).complaint.empty();
}

}  // namespace

TEST_CASE("both parts of a tolerance add up, and the bound itself is right") {
  const Tolerance tolerance{0.25, 0.5};
  for (const double sign : {-1.0, 1.0}) {
    CHECK(is_right(sign * 3.25, sign * 2.0, tolerance));
    CHECK(is_right(sign * 0.75, sign * 2.0, tolerance));
    CHECK_FALSE(is_right(sign * 3.2500001, sign * 2.0, tolerance));
    CHECK_FALSE(is_right(sign * 0.7499999, sign * 2.0, tolerance));
  }
}

TEST_CASE("no tolerance asks for equality") {
  CHECK(is_right(0.1, 0.1));
  CHECK_FALSE(is_right(0.1, std::nextafter(0.1, 1.0)));
}

TEST_CASE("any non-finite value is right where NaN is expected, and nowhere else") {
  const Tolerance tolerance{1e300, 1.0};
  for (const double lost : {not_a_number, infinity, -infinity}) {
    CHECK(is_right(lost, not_a_number, tolerance));
    CHECK_FALSE(is_right(lost, 1.0, tolerance));
    CHECK_FALSE(is_right(1.0, lost, tolerance));
  }
  CHECK(is_right(infinity, infinity));
  CHECK_FALSE(is_right(-infinity, infinity, tolerance));
}

TEST_CASE("the worst value is named, in units of its tolerance") {
  const Comparison comparison = compare(std::vector<double>{1.0, 2.5, 3.25},
                                        std::vector<double>{1.0, 2.0, 3.0}, {0.125, 0.0});
  CHECK(comparison.worst == 4.0);
  CHECK(comparison.complaint == "[1] is 2.5 instead of 2, 4 times the tolerance");
}

TEST_CASE("another number of values is wrong") {
  const std::vector<double> two{1.0, 2.0};
  CHECK(compare(two, std::vector<double>{1.0}, {}).complaint == "2 values instead of 1");
  CHECK(compare({}, two, {}).complaint == "0 values instead of 2");
}
