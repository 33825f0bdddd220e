// The loops of batch normalization against sums written down at once.

#include "kernels/normalization.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const std::vector<Columns> layouts{{6, 4, 1}, {3, 4, 5}, {1, 4, 7}, {5, 1, 3}, {0, 4, 3}};

template <class T>
std::vector<T> numbers(const Columns& columns, std::uint64_t seed) {
  const Tensor random = random_tensor({columns.outer * columns.channels * columns.inner}, seed);
  std::vector<T> result;
  for (const double value : random.values<double>()) result.push_back(static_cast<T>(value));
  return result;
}

std::size_t channel_of(const Columns& columns, std::size_t i) {
  return static_cast<std::size_t>(static_cast<std::int64_t>(i) / columns.inner % columns.channels);
}

}  // namespace

TEMPLATE_TEST_CASE("sums, ranges and affine functions see every element of a channel once",
                   "[kernels]", float, double) {
  using T = TestType;
  const Columns columns = GENERATE(from_range(layouts));
  const auto num_channels = static_cast<std::size_t>(columns.channels);
  const std::vector<T> x = numbers<T>(columns, 1), dy = numbers<T>(columns, 2);
  const std::vector<double> center(num_channels, 0.25), scale(num_channels, -1.5);
  std::vector<double> shift(num_channels);
  for (std::size_t c = 0; c < num_channels; ++c) shift[c] = static_cast<double>(c);

  const double lowest = -std::numeric_limits<double>::infinity();
  std::vector<double> sum(num_channels), squares(num_channels), gradient(num_channels),
      normalized(num_channels), maximum(num_channels, lowest), negated(num_channels, lowest);
  std::vector<T> y(x.size()), dx(x.size());
  add_sums(x.data(), columns, center.data(), sum.data(), squares.data());
  widen_range(x.data(), columns, maximum.data(), negated.data());
  apply_affine(x.data(), columns, center.data(), scale.data(), shift.data(), y.data());
  add_gradient_sums(x.data(), dy.data(), columns, center.data(), scale.data(), shift.data(),
                    gradient.data(), normalized.data());
  apply_input_gradient(x.data(), dy.data(), columns, center.data(), scale.data(), shift.data(),
                       center.data(), dx.data());

  std::vector<double> expected_sum(num_channels), expected_squares(num_channels),
      expected_gradient(num_channels), expected_normalized(num_channels),
      expected_maximum(num_channels, lowest), expected_negated(num_channels, lowest);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = channel_of(columns, i);
    const double value = x[i], difference = value - center[c];
    expected_sum[c] += difference;
    expected_squares[c] += difference * difference;
    expected_maximum[c] = std::max(expected_maximum[c], value);
    expected_negated[c] = std::max(expected_negated[c], -value);
    const double affine = difference * scale[c] + shift[c];
    expected_gradient[c] += dy[i];
    expected_normalized[c] += dy[i] * affine;
    CHECK(y[i] == static_cast<T>(affine));
    CHECK(dx[i] == static_cast<T>(scale[c] * dy[i] + (shift[c] * difference + center[c])));
  }
  CHECK(distance(sum, expected_sum) < 1e-14);
  CHECK(distance(squares, expected_squares) < 1e-14);
  CHECK(distance(gradient, expected_gradient) < 1e-14);
  CHECK(distance(normalized, expected_normalized) < 1e-14);
  CHECK(maximum == expected_maximum);
  CHECK(negated == expected_negated);
}

TEST_CASE("NaN widens a range to infinity", "[kernels]") {
  const std::vector<float> x{1.0F, std::nanf(""), 2.0F, 3.0F};
  std::vector<double> maximum(2, -HUGE_VAL), negated(2, -HUGE_VAL);
  widen_range(x.data(), {2, 2, 1}, maximum.data(), negated.data());
  CHECK(maximum == std::vector{2.0, HUGE_VAL});
  CHECK(negated == std::vector{-1.0, HUGE_VAL});
}
