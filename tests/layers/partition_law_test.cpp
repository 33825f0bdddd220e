// However a global batch is cut over the ranks, all results are those of one process.

#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "stats/column_layout.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Problem {
  Shape shape;
  int axis;
  double mean;  // in standard deviations
  BatchNormalizationOptions options = {};
};

constexpr std::int64_t global_batch = 12;

// Numbers of standard deviation 1 or so about `mean`, another one per channel.
Tensor input_of(const Problem& problem, DType dtype, std::uint64_t seed) {
  const Tensor noise = random_tensor(problem.shape, seed);
  const Columns columns = columns_of(problem.shape, resolved_axis(problem.axis, problem.shape));
  Tensor result(problem.shape, dtype);
  for (std::size_t i = 0; i < noise.values<double>().size(); ++i) {
    const auto channel = static_cast<std::int64_t>(i) / columns.inner % columns.channels;
    const double value =
        1.7 * noise.values<double>()[i] + problem.mean * (channel % 2 == 0 ? 1.0 : -0.7);
    if (dtype == DType::float32)
      result.values<float>()[i] = static_cast<float>(value);
    else
      result.values<double>()[i] = value;
  }
  return result;
}

BatchNormalizationOptions options_of(const Problem& problem, DType dtype) {
  BatchNormalizationOptions options = problem.options;
  options.axis = problem.axis;
  options.beta_initializer = RandomNormal{.stddev = 0.3, .seed = 2};
  options.gamma_initializer = RandomNormal{.mean = 1.0, .stddev = 0.3, .seed = 1};
  options.synchronized = true;
  options.dtype = dtype;
  return options;
}

// A few steps on this rank's rows of every global batch.
struct Run {
  BatchNormalization layer;
  Tensor y, dx;

  Run(const Problem& problem, DType dtype, const Communicator& group, std::int64_t first,
      std::int64_t count)
      : layer(options_of(problem, dtype)) {
    const Shape local = problem.shape.with(0, count);
    layer.build(local, group);
    y.resize(local, dtype);
    dx.resize(local, dtype);
    BatchNormalizationTape tape;
    for (std::uint64_t step = 0; step < 3; ++step) {
      const Tensor x = input_of(problem, dtype, 10 + step);
      const Tensor dy = input_of({problem.shape, problem.axis, 0.1}, dtype, 20 + step);
      const TensorView rows = TensorView(x).rows(first, count);
      layer.forward(rows, y, {.mode = Mode::training, .tape = &tape});
      layer.backward(tape, TensorView(dy).rows(first, count), dx);
    }
  }
};

template <class T>
bool is_close(const TensorView& a, const TensorView& b, const Columns& columns, double tolerance) {
  return channel_distance(a.values<T>(), b.values<T>(), columns) <= tolerance;
}

template <class T>
void check_law(const Problem& problem, double tolerance) {
  const Communicator world = Communicator::world();
  const Run alone(problem, dtype_of<T>(), Communicator(), 0, global_batch);
  for (const auto& cut : cuts_of(global_batch, world.size())) {
    const std::int64_t first = first_of(cut, world.rank());
    const std::int64_t count = cut[static_cast<std::size_t>(world.rank())];
    Run run(problem, dtype_of<T>(), world, first, count);

    // The scale of a channel is that of the whole batch: a rank's rows are put in their place.
    Tensor y = alone.y, dx = alone.dx;
    const auto place = [&](Tensor& target, const Tensor& rows) {
      std::ranges::copy(rows.values<T>(),
                        MutableTensorView(target).rows(first, count).template values<T>().begin());
    };
    place(y, run.y);
    place(dx, run.dx);
    const Columns columns = columns_of(problem.shape, resolved_axis(problem.axis, problem.shape));
    REQUIRE_ON_ALL_RANKS(world, is_close<T>(y, alone.y, columns, tolerance));
    REQUIRE_ON_ALL_RANKS(world, is_close<T>(dx, alone.dx, columns, tolerance));

    const Columns per_channel{1, columns.channels, 1};
    for (const char* name : {"moving_mean", "moving_variance"})
      REQUIRE_ON_ALL_RANKS(world, is_close<T>(run.layer.variable(name).value(),
                                              const_cast<Run&>(alone).layer.variable(name).value(),
                                              per_channel, tolerance));
    for (const char* name : {"gamma", "beta"})
      REQUIRE_ON_ALL_RANKS(world, is_close<T>(run.layer.variable(name).grad(),
                                              const_cast<Run&>(alone).layer.variable(name).grad(),
                                              per_channel, tolerance));
  }
}

}  // namespace

TEST_CASE("any cut of the batch gives what one process computes", "[layers]") {
  const auto [shape, axis] = GENERATE(values<std::pair<Shape, int>>({
      {{global_batch, 5}, -1},
      {{global_batch, 3, 4, 2}, 1},
      {{global_batch, 4, 3, 3}, -1},
      {{global_batch, 6, 5}, 1},
  }));
  const double mean = GENERATE(0.0, 10.0);
  check_law<double>({shape, axis, mean}, 1e-12);
  check_law<float>({shape, axis, mean}, 1e-5);
}

TEST_CASE("any cut of the batch gives the same under every option of the moving statistics",
          "[layers]") {
  const auto options = GENERATE(values<BatchNormalizationOptions>({
      {.momentum = std::nullopt},
      {.momentum = 0.9, .moving_variance = MovingVariance::unbiased},
      {.momentum = 0.9, .zero_debias_moving_mean = true},
      {.momentum = 0.9,
       .renorm = true,
       .renorm_clipping = {.rmin = 0.5, .rmax = 2.0, .dmax = 3.0},
       .renorm_momentum = 0.8},
  }));
  check_law<double>({{global_batch, 3, 4, 2}, 1, 10.0, options}, 1e-12);
  check_law<float>({{global_batch, 5}, -1, 10.0, options}, 1e-5);
}

TEST_CASE("a synchronized layer on one rank has the bits of a plain one", "[layers]") {
  const Problem problem{{global_batch, 3, 4, 2}, 1, 10.0};
  const Tensor x = input_of(problem, DType::float32, 1);
  const auto output_of = [&](bool synchronized) {
    BatchNormalization layer({.axis = problem.axis, .synchronized = synchronized});
    layer.build(problem.shape, Communicator());
    Tensor y(problem.shape);
    layer.forward(x, y, {.mode = Mode::training});
    return y;
  };
  const Tensor synchronized = output_of(true), plain = output_of(false);
  const bool is_equal = std::ranges::equal(synchronized.values<float>(), plain.values<float>());
  REQUIRE_ON_ALL_RANKS(Communicator::world(), is_equal);
}

TEST_CASE("without synchronization every rank normalizes by its own batch", "[layers]") {
  const Communicator world = Communicator::world();
  BatchNormalization layer({.dtype = DType::float64});
  layer.build({4, 2}, world);
  const Tensor x = random_tensor({4, 2}, static_cast<std::uint64_t>(world.rank()));
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, x, dx);
  REQUIRE_ON_ALL_RANKS(world, tape.batch_count()[0] == 4.0);
  REQUIRE_ON_ALL_RANKS(world, layer.gamma().gradient_scope() == GradientScope::local);
}

TEST_CASE("gradients of a synchronized layer are global", "[layers]") {
  const Communicator world = Communicator::world();
  auto layer = SyncBatchNormalization({.dtype = DType::float64});
  layer.build({1, 2}, world);
  const Tensor x = random_tensor({1, 2}, static_cast<std::uint64_t>(world.rank()));
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  Tensor ones(x.shape(), DType::float64);
  std::ranges::fill(ones.values<double>(), 1.0);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, ones, dx);
  const auto expected = world.is_solo() ? GradientScope::local : GradientScope::global;
  REQUIRE_ON_ALL_RANKS(world, layer.beta().gradient_scope() == expected);
  REQUIRE_ON_ALL_RANKS(world, layer.beta().grad().values<double>()[0] == world.size());
}
