// The loops of batch normalization against one element after the other.

#include "kernels/normalization.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/activation.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Axis = ColumnLayout::Axis;

ColumnLayout layout_of(const std::vector<Axis>& axes, std::int64_t num_columns) {
  ColumnLayout layout;
  for (const auto& [extent, stride] : axes) layout.append(extent, stride);
  layout.num_columns = num_columns;
  return layout;
}

// Channels last, first, alone, two of them apart, in strided and in contiguous groups, none at all.
const std::vector<ColumnLayout> layouts{
    layout_of({{6, 0}, {4, 1}}, 4),
    layout_of({{3, 0}, {4, 1}, {5, 0}}, 4),
    layout_of({{1, 0}, {1, 1}, {7, 0}}, 1),
    layout_of({{2, 0}, {3, 4}, {5, 0}, {4, 1}}, 12),
    layout_of({{2, 0}, {3, 4}, {4, 1}, {5, 0}}, 12),
    layout_of({{3, 4}, {2, 0}, {4, 1}}, 12),
    layout_of({{2, 0}, {700, 1}, {3, 0}}, 700),
    layout_of({{3, 0}, {2, 1}, {1100, 0}}, 2),
    layout_of({{0, 0}, {4, 1}}, 4),
};

std::vector<std::size_t> columns_of(const ColumnLayout& layout) {
  std::vector<std::size_t> columns{0};
  for (const Axis& axis : layout.used()) {
    std::vector<std::size_t> next;
    for (const std::size_t column : columns)
      for (std::int64_t i = 0; i < axis.extent; ++i)
        next.push_back(column + static_cast<std::size_t>(i * axis.column_stride));
    columns = next;
  }
  return columns;
}

std::vector<double> numbers(std::size_t count, std::uint64_t seed) {
  const Tensor random = random_tensor({static_cast<std::int64_t>(count)}, seed);
  return {random.values<double>().begin(), random.values<double>().end()};
}

// A batch with everything, and what the loops make of it.
template <class T>
struct Everything {
  explicit Everything(const ColumnLayout& chosen, const AnyActivation& function)
      : layout(chosen), activation(function), columns(columns_of(chosen)) {
    const std::size_t n = columns.size();
    const auto fill = [&](std::vector<T>& target, std::uint64_t seed) {
      for (const double value : numbers(n, seed)) target.push_back(static_cast<T>(value));
    };
    fill(x, 1);
    fill(dy, 2);
    fill(residual, 3);
    stride = layout.num_axes == 0 ? 1 : layout.axes[layout.num_axes - 1].extent;
    weights.resize(n / static_cast<std::size_t>(std::max<std::int64_t>(stride, 1)));
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<double>(i % 3) / 2;
    if (n > 0) x[0] = static_cast<T>(std::numeric_limits<double>::quiet_NaN());  // of weight 0
    element_scale = numbers(n, 4);
    element_bias = numbers(n, 5);
    const auto per_column = static_cast<std::size_t>(layout.num_columns);
    center = numbers(per_column, 6);
    scale = numbers(per_column, 7);
    shift = numbers(per_column, 8);
    factor = numbers(per_column, 9);
    offset = numbers(per_column, 10);
  }

  [[nodiscard]] NormalizationBatch<T> batch() const {
    return {.x = x.data(),
            .residual = residual.data(),
            .layout = layout,
            .weights = {weights.data(), stride},
            .adjustment = {element_scale.data(), element_bias.data(), factor.data(), offset.data()},
            .activation = activation,
            .negative_slope = 0.3};
  }
  [[nodiscard]] AffineView affine() const { return {center.data(), scale.data(), shift.data()}; }

  [[nodiscard]] double weight(std::size_t i) const {
    return weights[i / static_cast<std::size_t>(stride)];
  }
  [[nodiscard]] bool counts(std::size_t i) const {
    return weight(i) != 0.0 || std::isfinite(static_cast<double>(x[i]));
  }
  [[nodiscard]] double normalized(std::size_t i) const {
    const std::size_t c = columns[i];
    return (static_cast<double>(x[i]) - center[c]) * scale[c] + shift[c];
  }
  [[nodiscard]] double preactivation(std::size_t i) const {
    const std::size_t c = columns[i];
    return (normalized(i) * element_scale[i] + element_bias[i]) * factor[c] + offset[c] +
           static_cast<double>(residual[i]);
  }
  [[nodiscard]] double gradient(std::size_t i) const {
    if (!counts(i)) return 0.0;
    const double z = preactivation(i), g = static_cast<double>(dy[i]);
    double result = 0.0;
    activation_gradient(activation, 0.3, &z, &g, &result, 1);
    return result;
  }

  const ColumnLayout& layout;
  AnyActivation activation;
  std::vector<std::size_t> columns;
  std::vector<T> x, dy, residual;
  std::int64_t stride = 1;
  std::vector<double> weights, element_scale, element_bias;
  std::vector<double> center, scale, shift, factor, offset;
};

const AnyActivation square =
    CustomActivation{"square", [](double x) { return x * x; }, [](double x) { return 2.0 * x; }};
const std::vector<AnyActivation> some_activations{
    ActivationFunction::linear, ActivationFunction::leaky_relu, ActivationFunction::tanh, square};

}  // namespace

TEST_CASE("blocks hold every element once, in order, and respect the granularity", "[kernels]") {
  for (const ColumnLayout& layout : layouts)
    for (const std::int64_t granularity : {1, 3, 512, 1000000}) {
      const std::vector<std::size_t> columns = columns_of(layout);
      std::int64_t next = 0;
      bool is_right = true;
      for_each_block(layout, granularity, [&](const Block& block) {
        is_right &= block.first == next && block.count > 0 &&
                    block.count <= static_cast<std::size_t>(block_size);
        next += static_cast<std::int64_t>(block.count);
        is_right &= block.first / granularity == (next - 1) / granularity;
        for (std::size_t i = 0; i < block.count; ++i)
          is_right &= columns[static_cast<std::size_t>(block.first) + i] ==
                      block.column + i * block.column_step;
      });
      CHECK(is_right);
      CHECK(next == layout.num_elements());
    }
}

TEMPLATE_TEST_CASE("sums and ranges see the elements of positive weight", "[kernels]", float,
                   double) {
  const auto& layout = GENERATE(from_range(layouts));
  const Everything<TestType> all(layout, ActivationFunction::linear);
  const auto n = static_cast<std::size_t>(layout.num_columns);
  const double lowest = -std::numeric_limits<double>::infinity();
  std::vector<double> count(n), sum(n), squares(n), maximum(n, lowest), negated(n, lowest);
  add_sums(all.batch(), all.center.data(), count.data(), sum.data(), squares.data());
  widen_range(all.batch(), maximum.data(), negated.data());

  std::vector<double> counts(n), sums(n), sums_of_squares(n), most(n, lowest), least(n, lowest);
  for (std::size_t i = 0; i < all.x.size(); ++i) {
    const double weight = all.weight(i);
    if (weight == 0.0) continue;
    const std::size_t c = all.columns[i];
    const double value = static_cast<double>(all.x[i]), difference = value - all.center[c];
    counts[c] += weight;
    sums[c] += weight * difference;
    sums_of_squares[c] += weight * difference * difference;
    most[c] = std::max(most[c], value);
    least[c] = std::max(least[c], -value);
  }
  CHECK(count == counts);
  CHECK(distance(sum, sums) < 1e-13);
  CHECK(distance(squares, sums_of_squares) < 1e-13);
  CHECK(maximum == most);
  CHECK(negated == least);
}

TEMPLATE_TEST_CASE("outputs and gradients are those of the formula, element by element",
                   "[kernels]", float, double) {
  const auto& layout = GENERATE(from_range(layouts));
  const auto& activation = GENERATE(from_range(some_activations));
  using T = TestType;
  const Everything<T> all(layout, activation);
  const auto n = static_cast<std::size_t>(layout.num_columns);
  std::vector<T> y(all.x.size()), dx(all.x.size()), dresidual(all.x.size());
  std::vector<double> output(n), adjusted(n), normalized(n), bias(n);
  apply_normalization(all.batch(), all.affine(), y.data());
  add_gradient_sums(all.batch(), all.affine(), all.affine(), all.dy.data(),
                    {output.data(), adjusted.data(), normalized.data(), bias.data()});
  apply_input_gradient(all.batch(), all.affine(),
                       {all.center.data(), all.scale.data(), all.shift.data(), all.factor.data()},
                       all.dy.data(), dx.data(), dresidual.data());

  std::vector<double> a(n), b(n), c_(n), d(n);
  std::size_t num_wrong = 0;
  for (std::size_t i = 0; i < all.x.size(); ++i) {
    const std::size_t c = all.columns[i];
    const double gradient = all.gradient(i);
    double value = all.preactivation(i);
    activate(activation, 0.3, &value, &value, 1);
    if (!all.counts(i)) {
      num_wrong += std::isnan(static_cast<double>(y[i])) && dx[i] == T(0) ? 0U : 1U;
      continue;
    }
    const double s = all.element_scale[i], x = static_cast<double>(all.x[i]) - all.center[c];
    a[c] += gradient;
    b[c] += gradient * s;
    c_[c] += gradient * s * all.normalized(i);
    d[c] += gradient * all.element_bias[i];
    const double expected =
        all.scale[c] * s * gradient + all.weight(i) * (all.shift[c] * x + all.factor[c]);
    const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;
    const auto is_near = [&](T got, double wanted) {
      return std::abs(static_cast<double>(got) - wanted) <= tolerance * (1.0 + std::abs(wanted));
    };
    num_wrong += is_near(y[i], value) && is_near(dx[i], expected) && is_near(dresidual[i], gradient)
                     ? 0U
                     : 1U;
  }
  CHECK(num_wrong == 0);
  CHECK(distance(output, a) < 1e-13);
  CHECK(distance(adjusted, b) < 1e-13);
  CHECK(distance(normalized, c_) < 1e-13);
  CHECK(distance(bias, d) < 1e-13);
}

TEST_CASE("NaN widens a range to infinity", "[kernels]") {
  const std::vector<float> x{1.0F, std::nanf(""), 2.0F, 3.0F};
  const ColumnLayout layout = layout_of({{2, 0}, {2, 1}}, 2);
  const AnyActivation linear = ActivationFunction::linear;
  std::vector<double> maximum(2, -HUGE_VAL), negated(2, -HUGE_VAL);
  widen_range(NormalizationBatch<float>{.x = x.data(), .layout = layout, .activation = linear},
              maximum.data(), negated.data());
  CHECK(maximum == std::vector{2.0, HUGE_VAL});
  CHECK(negated == std::vector{-1.0, HUGE_VAL});
}
