// Statistics::exact: the same bits on any number and order of ranks, for any cut of the batch
// between samples, with every instruction set.

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/convert.hpp"
#include "base/random.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/kernels.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::int64_t global_batch = 12;

// What the elements of a batch look like.
struct Data {
  double mean = 0.0, stddev = 1.0;
  double outlier = 0.0;  // instead of one element
};

struct Problem {
  std::string name;
  Shape shape;
  BatchNormalizationOptions options = {};
  std::vector<Data> steps = {{}, {0.3, 1.1}, {}};
  bool has_residual = false;
  bool has_weights = false;
  std::int64_t granularity = 1;  // samples that no cut separates
};

Tensor numbers(const Shape& shape, DType dtype, const Data& data, std::uint64_t seed) {
  const Tensor noise = random_tensor(shape, seed);
  std::vector<double> values(noise.values<double>().begin(), noise.values<double>().end());
  for (double& value : values) value = data.mean + data.stddev * value;
  if (data.outlier != 0.0) values[seed % values.size()] = data.outlier;
  Tensor result(shape, dtype);
  write_from_double(values, result);
  return result;
}

// All bits that a call leaves behind.
struct Outcome {
  std::vector<std::byte> y, dx, residual_gradient;  // of all steps, this rank's rows
  std::vector<std::byte> replicated;                // gradients and variables

  static void append(std::vector<std::byte>& target, const TensorView& values) {
    const auto* first = static_cast<const std::byte*>(values.data());
    const auto size = static_cast<std::size_t>(values.num_elements()) * size_of(values.dtype());
    target.insert(target.end(), first, first + size);
  }
};

// Per-element adjustments of the samples from `first` on.
AdjustmentFunction adjustment_from(std::int64_t first) {
  return [first](const Shape& local) {
    const Shape whole = local.with(0, global_batch);
    const auto rows = [&](std::uint64_t seed, double center) {
      const Tensor all = numbers(whole, DType::float64, {center, 0.2}, seed);
      Tensor part(local, DType::float64);
      std::ranges::copy(TensorView(all).rows(first, local[0]).values<double>(),
                        part.values<double>().begin());
      return part;
    };
    return Adjustment{rows(71, 1.0), rows(72, 0.0)};
  };
}

Outcome run(const Problem& problem, const Communicator& group, std::int64_t first,
            std::int64_t count) {
  BatchNormalizationOptions options = problem.options;
  const DType dtype = options.dtype.value_or(DType::float32);
  options.synchronized = true;
  options.beta_initializer = RandomNormal{.stddev = 0.3, .seed = 2};
  options.gamma_initializer = RandomNormal{.mean = 1.0, .stddev = 0.3, .seed = 1};
  if (options.adjustment_differs_by_rank) options.adjustment = adjustment_from(first);
  BatchNormalization layer(options);
  const Shape local = problem.shape.with(0, count);
  layer.build(local, group);
  Tensor y(local, dtype), dx(local, dtype), residual_gradient(local, dtype);
  BatchNormalizationTape tape;
  Outcome outcome;
  for (std::uint64_t step = 0; step < problem.steps.size(); ++step) {
    const Tensor x = numbers(problem.shape, dtype, problem.steps[step], 10 + step);
    const Tensor residual = numbers(problem.shape, dtype, {0.1, 1.0}, 20 + step);
    const Tensor dy = numbers(problem.shape, dtype, {0.1, step == 1 ? 1e-4 : 1.0}, 30 + step);
    Tensor weights = numbers({global_batch}, DType::float32, {1.0, 0.5}, 40 + step);
    for (float& weight : weights.values<float>()) weight = std::max(weight, 0.0F);
    Call call{.mode = Mode::training, .tape = &tape};
    if (problem.has_residual) call.residual = TensorView(residual).rows(first, count);
    if (problem.has_weights) call.batch_weights = TensorView(weights).rows(first, count);
    layer.forward(TensorView(x).rows(first, count), y, call);
    layer.backward(
        tape, TensorView(dy).rows(first, count), dx,
        problem.has_residual ? MutableTensorView(residual_gradient) : MutableTensorView());
    Outcome::append(outcome.y, y);
    Outcome::append(outcome.dx, dx);
    Outcome::append(outcome.residual_gradient, residual_gradient);
    for (Variable* variable : layer.variables()) {
      Outcome::append(outcome.replicated, variable->value());
      if (variable->role() == VariableRole::parameter)
        Outcome::append(outcome.replicated, variable->grad());
    }
  }
  return outcome;
}

// The rows [first, first + count) of every step.
std::vector<std::byte> rows_of_steps(const std::vector<std::byte>& all, std::size_t num_steps,
                                     std::int64_t first, std::int64_t count) {
  const std::size_t step_size = all.size() / num_steps;
  const std::size_t row_size = step_size / global_batch;
  std::vector<std::byte> result;
  for (std::size_t step = 0; step < num_steps; ++step) {
    const auto from =
        all.begin() +
        static_cast<std::ptrdiff_t>(step * step_size + static_cast<std::size_t>(first) * row_size);
    result.insert(result.end(), from, from + count * static_cast<std::ptrdiff_t>(row_size));
  }
  return result;
}

// Cuts in steps of the granularity, by random places, for ranks in random order.
std::vector<std::pair<std::int64_t, std::int64_t>> random_parts(const Problem& problem,
                                                                int num_ranks, std::uint64_t seed) {
  const RandomKey key(seed);
  const std::int64_t num_units = global_batch / problem.granularity;
  std::vector<std::int64_t> ends{0, num_units};
  for (int i = 1; i < num_ranks; ++i)
    ends.push_back(static_cast<std::int64_t>(key.bits(static_cast<std::uint64_t>(i)) %
                                             static_cast<std::uint64_t>(num_units + 1)));
  std::ranges::sort(ends);
  std::vector<std::pair<std::int64_t, std::int64_t>> parts;
  for (std::size_t i = 0; i + 1 < ends.size(); ++i)
    parts.emplace_back(ends[i] * problem.granularity,
                       (ends[i + 1] - ends[i]) * problem.granularity);
  std::rotate(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(seed % parts.size()),
              parts.end());
  return parts;
}

void check_bits(const Problem& problem) {
  INFO(problem.name << " " << to_string(problem.shape) << " "
                    << name_of(problem.options.dtype.value_or(DType::float32))
                    << ", step 1: " << problem.steps[1].mean << ", " << problem.steps[1].stddev);
  const Communicator world = Communicator::world();
  const auto targets = supported_kernel_targets();
  // The reference computes elements in double.
  const std::vector<KernelTarget> fast_targets(targets.begin() + 1, targets.end());
  const Outcome alone = run(problem, Communicator(), 0, global_batch);
  for (std::uint64_t seed = 0; seed < 2 * fast_targets.size(); ++seed) {
    const ChosenKernels kernels(fast_targets[seed % fast_targets.size()]);
    INFO(name_of(kernel_target()) << " seed " << seed);
    const auto [first, count] =
        random_parts(problem, world.size(), seed)[static_cast<std::size_t>(world.rank())];
    const Outcome here = run(problem, world, first, count);
    const auto is_part_of = [&, first = first, count = count](const std::vector<std::byte>& part,
                                                              const std::vector<std::byte>& all) {
      return part == rows_of_steps(all, problem.steps.size(), first, count);
    };
    REQUIRE_ON_ALL_RANKS(world, is_part_of(here.y, alone.y));
    REQUIRE_ON_ALL_RANKS(world, is_part_of(here.dx, alone.dx));
    REQUIRE_ON_ALL_RANKS(world, is_part_of(here.residual_gradient, alone.residual_gradient));
    REQUIRE_ON_ALL_RANKS(world, here.replicated == alone.replicated);
  }
}

// Dense, channels last and first, planes below and above the length of a row, odd sizes.
const std::vector<std::pair<Shape, int>> shapes{
    {{global_batch, 1}, -1},       {{global_batch, 37}, -1},       {{global_batch, 1030}, -1},
    {{global_batch, 4, 3, 3}, -1}, {{global_batch, 9, 8, 17}, -1}, {{global_batch, 3, 4, 2}, 1},
    {{global_batch, 17, 7, 7}, 1}, {{global_batch, 3, 12, 13}, 1}, {{global_batch, 1, 61, 67}, 1}};

}  // namespace

TEST_CASE("bits do not depend on ranks, cuts and instruction sets", "[layers][exact]") {
  const DType dtype = GENERATE(DType::float32, DType::float64, DType::bfloat16, DType::float16);
  for (const auto& [shape, axis] : shapes)
    check_bits({"plain", shape, {.axis = axis, .dtype = dtype}});
}

TEST_CASE("bits do not depend on ranks whatever the size of the numbers", "[layers][exact]") {
  const DType dtype = GENERATE(DType::float32, DType::float64);
  const std::vector<std::vector<Data>> histories{
      {{1.0, 1.0}, {1e3, 1.0}, {1e6, 1.0}, {1e6, 1.0}, {-1.0, 1.0}},
      {{0.0, 1e15}, {1e15, 1e9}, {0.0, 1.0}},
      {{0.0, 1e-15}, {0.0, 1e-20}, {0.0, 1.0}},
      {{0.0, 1e-40}, {0.0, 1e-42}, {1e-40, 0.0}},
      {{}, {0.0, 1.0, 1e30}, {}, {}},
      {{5.0, 0.0}, {5.0, 0.0}, {5.0, 1e-6}, {5.0, 1.0}}};
  for (const auto& history : histories)
    for (const auto& [shape, axis] :
         {std::pair<Shape, int>{{global_batch, 37}, -1}, {{global_batch, 3, 12, 13}, 1}})
      check_bits(
          {"sizes", shape, {.axis = axis, .nonfinite = Nonfinite::warn, .dtype = dtype}, history});
}

TEST_CASE("bits do not depend on ranks under any option", "[layers][exact]") {
  const Shape planes{global_batch, 3, 4, 5}, dense{global_batch, 7};
  using Options = BatchNormalizationOptions;
  for (const auto activation : {ActivationFunction::relu, ActivationFunction::leaky_relu})
    check_bits({"residual", planes, {.axis = 1, .activation = activation}, {{}, {}}, true});
  for (const auto& [shape, axis] : {std::pair{planes, 1}, std::pair{dense, -1}}) {
    Problem weighted{"weights", shape, {.axis = axis}};
    weighted.has_weights = true;
    check_bits(weighted);
    Options adjusted{.axis = axis, .adjustment_differs_by_rank = true};
    check_bits({"adjustment", shape, adjusted});
    const Tensor scale = numbers({shape[axis < 0 ? 1 : axis]}, DType::float64, {1.0, 0.1}, 3);
    const Options per_channel{.axis = axis, .adjustment = [=](const Shape&) {
                                return Adjustment{scale, scale};
                              }};
    check_bits({"adjustment per channel", shape, per_channel});
    Problem ghosts{
        "ghost batches",
        shape,
        {.axis = axis, .virtual_batch_size = 2, .ghost_grouping = GhostGrouping::contiguous}};
    ghosts.granularity = 2;
    check_bits(ghosts);
    check_bits({"renorm", shape, {.axis = axis, .renorm = true, .renorm_momentum = 0.5}});
  }
  check_bits({"axes", {global_batch, 3, 2, 5}, {.axis = {1, 3}}});
  check_bits({"axes", {global_batch, 3, 1, 5}, {.axis = {1, 3}}});
  check_bits({"axes", {global_batch, 3, 2, 5}, {.axis = {1, 2}}});
}

TEST_CASE("weights of any size count a constant channel, in one message", "[layers][exact]") {
  const Communicator world = Communicator::world();
  const std::int64_t one = world.is_solo() ? 0 : 1;
  const double size = GENERATE(1e9, 1e6, 2e-5, 1e-18);
  Tensor x = random_tensor({4, 2, 8, 8}, 1), dy = random_tensor({4, 2, 8, 8}, 2);
  for (std::size_t i = 0; i < x.values<double>().size(); ++i)
    if (i / 64 % 2 == 0) x.values<double>()[i] = 0.0;
  Tensor weights({4}, DType::float64);
  std::ranges::fill(weights.values<double>(), size);
  const auto run_with = [&](Statistics statistics, Tensor& dx) {
    BatchNormalization layer(
        {.axis = 1, .statistics = statistics, .synchronized = true, .dtype = DType::float64});
    layer.build(x.shape(), world);
    Tensor y(x.shape(), DType::float64);
    BatchNormalizationTape tape;
    for (int step = 0; step < 4; ++step) {
      const std::int64_t before = num_allreduces();
      layer.forward(x, y, {.mode = Mode::training, .tape = &tape, .batch_weights = weights});
      if (step > 1) REQUIRE_ON_ALL_RANKS(world, num_allreduces() - before == one);
      layer.backward(tape, dy, dx);
    }
    return tape.batch_count()[0];
  };
  Tensor exact(x.shape(), DType::float64), fast(x.shape(), DType::float64);
  const double count = run_with(Statistics::exact, exact);
  REQUIRE_ON_ALL_RANKS(world, count == Approx(256.0 * size * world.size()).epsilon(1e-10));
  REQUIRE_ON_ALL_RANKS(world, run_with(Statistics::fast, fast) == Approx(count).epsilon(1e-10));
  REQUIRE_ON_ALL_RANKS(world, distance(exact.values<double>(), fast.values<double>()) < 1e-9);
}

TEST_CASE("an activation that throws is an error on all ranks, in a range round too",
          "[layers][exact]") {
  const Communicator world = Communicator::world();
  // The sums of the first pass take one call per element, and their round comes after.
  const auto [shape, fatal_call] =
      GENERATE(values<std::pair<Shape, int>>({{{4, 8}, 3}, {{4, 2, 3, 3}, 3}, {{4, 2, 3, 3}, 77}}));
  int calls = 0;
  bool is_armed = true;
  const CustomActivation activation{
      "brittle", [](double z) { return z; },
      [&, fatal_call = fatal_call](double) {
        if (is_armed && ++calls == fatal_call && world.rank() == world.size() - 1)
          throw DataError("no derivative");
        return 1.0;
      }};
  BatchNormalization layer(
      {.axis = 1, .activation = activation, .synchronized = true, .dtype = DType::float64});
  layer.build(shape, world);
  const Tensor x = random_tensor(shape, 1);
  Tensor dy = random_tensor(shape, 2), y(shape, DType::float64), dx(shape, DType::float64);
  for (double& value : dy.values<double>()) value *= 1e-9;
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  calls = 0;
  const Caught caught = caught_from([&] { layer.backward(tape, dy, dx); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
  is_armed = false;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, dy, dx);
}

TEST_CASE("dense batches of nothing but infinity and NaN are an error", "[layers][exact]") {
  const Communicator world = Communicator::world();
  const double bad =
      GENERATE(std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN());
  const std::int64_t num_channels = GENERATE(1, 3, 40);
  for (const DType dtype : {DType::float32, DType::float64}) {
    BatchNormalization layer({.synchronized = true, .dtype = dtype});
    const Tensor x = numbers({global_batch, num_channels}, dtype, {bad, 0.0}, 1);
    layer.build(x.shape(), world);
    Tensor y(x.shape(), dtype);
    const Caught caught = caught_from([&] { layer.forward(x, y, {.mode = Mode::training}); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
  }
}
