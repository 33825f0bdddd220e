// NaN and infinity are found wherever they are.

#include "base/finite.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nonfinite[] = {std::nan(""), -std::nan(""), infinity, -infinity};

}  // namespace

TEST_CASE("one number that is not finite is enough, at any place") {
  const double finite[] = {0.0,
                           -0.0,
                           1.0,
                           -1.0,
                           std::numeric_limits<double>::max(),
                           std::numeric_limits<double>::lowest(),
                           std::numeric_limits<double>::denorm_min()};
  for (std::size_t size = 0; size < 40; ++size) {
    std::vector<double> values(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = finite[i % std::size(finite)];
    CHECK(are_finite(values));
    for (std::size_t i = 0; i < size; ++i)
      for (const double bad : nonfinite) {
        const double kept = std::exchange(values[i], bad);
        CHECK_FALSE(are_finite(values));
        values[i] = kept;
      }
  }
}

TEST_CASE("numbers are read whether they are finite or not") {
  for (const DType dtype : {DType::float32, DType::float64})
    for (std::int64_t size = 0; size < 40; ++size) {
      std::vector<double> values(static_cast<std::size_t>(size), 1.5);
      Tensor source(Shape{size}, dtype);
      const auto is_finite = [&] {
        write_from_double(values, source);
        std::vector<double> read(values.size());
        const bool result = read_if_finite(source, read);
        CHECK(std::ranges::equal(read, values, [](double a, double b) {
          return a == b || (std::isnan(a) && std::isnan(b));
        }));
        return result;
      };
      CHECK(is_finite());
      for (double& value : values)
        for (const double bad : nonfinite) {
          const double kept = std::exchange(value, bad);
          CHECK_FALSE(is_finite());
          value = kept;
        }
      for (double& value : values) value = std::numeric_limits<float>::max();
      CHECK(is_finite());
    }
}

TEST_CASE("the first such element of a tensor of any floating type is found") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16}) {
    CHECK_FALSE(first_nonfinite(Tensor({0, 3}, dtype)));
    CHECK_FALSE(first_nonfinite(Tensor({2, 3}, dtype)));
    for (const double bad : nonfinite) {
      Tensor tensor({2, 3}, dtype);
      write_from_double(std::vector<double>{1.0, 2.0, 3.0, 4.0, bad, bad}, tensor);
      const auto found = first_nonfinite(tensor);
      REQUIRE(found);
      CHECK(found->index == 4);
      CHECK(std::isnan(found->value) == std::isnan(bad));
      CHECK((std::isnan(bad) || found->value == bad));
    }
  }
}
