// Variance of data whose mean is far from zero: semantics of a float32 or float64 batch, exactly.

#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "stats/column_layout.hpp"
#include "support/catch.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

__extension__ using Wide = __float128;

struct Layout {
  Shape shape;
  int axis;
};

const std::vector<Layout> layouts{{{12, 5, 5, 3}, -1}, {{12, 3, 5, 5}, 1}, {{12, 3}, -1}};

template <class T>
Tensor input_of(const Layout& layout, double mean, double stddev, std::uint64_t seed) {
  Tensor result(layout.shape, dtype_of<T>());
  std::uint64_t i = 0;
  for (T& value : result.values<T>())
    value = static_cast<T>(mean + stddev * RandomKey(seed).normal(i++));
  return result;
}

// Biased variance of the given numbers, of one channel, in quadruple precision.
template <class T>
double exact_variance(const Tensor& x, const Columns& columns, std::int64_t channel) {
  const auto values = x.values<T>();
  const auto sum_of = [&](auto&& term) {
    Wide sum = 0;
    for (std::int64_t outer = 0; outer < columns.outer; ++outer)
      for (std::int64_t inner = 0; inner < columns.inner; ++inner)
        sum += term(Wide{values[static_cast<std::size_t>(
            (outer * columns.channels + channel) * columns.inner + inner)]});
    return sum / static_cast<Wide>(columns.num_per_channel());
  };
  const Wide mean = sum_of([](Wide value) { return value; });
  return static_cast<double>(sum_of([&](Wide value) { return (value - mean) * (value - mean); }));
}

template <class T>
void check_accuracy(const Layout& layout, Statistics statistics, double mean, double stddev,
                    double tolerance) {
  const Communicator world = Communicator::world();
  const Columns columns = columns_of(layout.shape, resolved_axis(layout.axis, layout.shape));
  for (const auto& cut : cuts_of(layout.shape[0], world.size())) {
    const std::int64_t first = first_of(cut, world.rank());
    const std::int64_t count = cut[static_cast<std::size_t>(world.rank())];
    BatchNormalization layer({.axis = layout.axis,
                              .statistics = statistics,
                              .synchronized = true,
                              .dtype = dtype_of<T>()});
    layer.build(layout.shape, world);
    Tensor y(layout.shape.with(0, count), dtype_of<T>());
    BatchNormalizationTape tape;
    for (std::uint64_t step = 0; step < 4; ++step) {
      const Tensor x = input_of<T>(layout, mean, stddev, step);
      layer.forward(TensorView(x).rows(first, count), y, {.mode = Mode::training, .tape = &tape});
      for (std::int64_t channel = 0; channel < columns.channels; ++channel) {
        const double expected = exact_variance<T>(x, columns, channel);
        const double actual = tape.batch_variance()[static_cast<std::size_t>(channel)];
        REQUIRE_ON_ALL_RANKS(world, std::abs(actual - expected) <= tolerance * expected);
      }
    }
  }
}

}  // namespace

TEST_CASE("the variance is that of the data, however far the mean", "[layers]") {
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  const auto layout = GENERATE(from_range(layouts));
  SECTION("float32, mean / stddev up to 1e6") {
    const double mean = GENERATE(0.0, 1.0, 1e3, 1e6, -1e6);
    check_accuracy<float>(layout, statistics, mean, 1.0, 1e-5);
  }
  SECTION("float32, at other scales") {
    check_accuracy<float>(layout, statistics, 1e-14, 1e-20, 1e-5);
    check_accuracy<float>(layout, statistics, 1e20, 1e14, 1e-5);
  }
  SECTION("float64, mean / stddev up to 1e8") {
    check_accuracy<double>(layout, statistics, 1e8, 1.0, 1e-4);
  }
}

TEST_CASE("the output of far data is normalized", "[layers]") {
  const Communicator world = Communicator::world();
  const auto layout = GENERATE(from_range(layouts));
  const Columns columns = columns_of(layout.shape, resolved_axis(layout.axis, layout.shape));
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  BatchNormalization layer(
      {.axis = layout.axis, .epsilon = 0.0, .statistics = statistics, .synchronized = true});
  layer.build(layout.shape, world);
  Tensor y(layout.shape);
  for (std::uint64_t step = 0; step < 3; ++step) {
    const Tensor x = input_of<float>(layout, 1e6, 1.0, step);
    layer.forward(x, y, {.mode = Mode::training});
    for (std::int64_t channel = 0; channel < columns.channels; ++channel)
      REQUIRE_ON_ALL_RANKS(world,
                           std::abs(exact_variance<float>(y, columns, channel) - 1.0) < 1e-5);
  }
}

TEST_CASE("a constant channel has variance 0 exactly", "[layers]") {
  const Communicator world = Communicator::world();
  const auto layout = GENERATE(from_range(layouts));
  const float constant = GENERATE(0.0F, 0.1F, -3.0F, 1e10F, 1e-30F, 3e38F);
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  BatchNormalization layer({.axis = layout.axis,
                            .beta_initializer = Constant{0.25},
                            .statistics = statistics,
                            .synchronized = true});
  layer.build(layout.shape, world);
  Tensor x(layout.shape), y(layout.shape);
  std::ranges::fill(x.values<float>(), constant);
  BatchNormalizationTape tape;
  for (int step = 0; step < 3; ++step) {
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    for (const double variance : tape.batch_variance())
      REQUIRE_ON_ALL_RANKS(world, variance == 0.0);
    const bool is_beta =
        std::ranges::all_of(y.values<float>(), [](float value) { return value == 0.25F; });
    REQUIRE_ON_ALL_RANKS(world, is_beta);
  }
}

TEST_CASE("millions of elements, one of them far away, have the variance of the data", "[layers]") {
  const Communicator world = Communicator::world();
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  const Layout layout = GENERATE(values<Layout>({{{1 << 21, 1}, -1}, {{4, 1, 1 << 19}, 1}}));
  const double outlier = GENERATE(0.0, 1e15);
  BatchNormalization layer({.axis = layout.axis, .statistics = statistics, .synchronized = true});
  Tensor x = input_of<float>(layout, 3.0, 1.0, 1);
  if (outlier != 0.0) x.values<float>()[12345] = static_cast<float>(outlier);
  const auto cut = cuts_of(layout.shape[0], world.size()).front();
  const std::int64_t first = first_of(cut, world.rank());
  const std::int64_t count = cut[static_cast<std::size_t>(world.rank())];
  layer.build(layout.shape, world);
  Tensor y(layout.shape.with(0, count));
  BatchNormalizationTape tape;
  layer.forward(TensorView(x).rows(first, count), y, {.mode = Mode::training, .tape = &tape});
  const double expected = exact_variance<float>(x, columns_of(layout.shape, 1), 0);
  REQUIRE_ON_ALL_RANKS(world, std::abs(tape.batch_variance()[0] - expected) <= 1e-5 * expected);
}
