// How many messages a layer may send, counted below the library.

#include <cmath>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Counts {
  std::int64_t forward, backward;
  bool are_all_allreduces;
};

// Messages of one forward and backward on the input `x`, with gradients that are always the same.
Counts counts_of(BatchNormalization& layer, const Tensor& x, Mode mode) {
  Tensor y(x.shape(), x.dtype()), dx(x.shape(), x.dtype());
  const Tensor dy = random_tensor(x.shape(), 7);
  BatchNormalizationTape tape;
  const std::int64_t start = num_allreduces(), all = num_collectives() + num_new_communicators();
  layer.forward(x, y, {.mode = mode, .tape = &tape});
  const std::int64_t between = num_allreduces();
  layer.backward(tape, dy, dx);
  const std::int64_t end = num_allreduces();
  return {between - start, end - between,
          num_collectives() + num_new_communicators() - all == end - start};
}

Tensor moved(Tensor x, double mean) {
  for (double& value : x.values<double>()) value += mean;
  return x;
}

BatchNormalization built(BatchNormalizationOptions options, const Communicator& group) {
  options.dtype = DType::float64;
  BatchNormalization layer(std::move(options));
  layer.build({4, 2}, group);
  return layer;
}

}  // namespace

TEST_CASE("one allreduce per layer and direction, three when statistics jump", "[layers]") {
  const Communicator world = Communicator::world();
  const std::int64_t one = world.is_solo() ? 0 : 1;
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  auto layer = built({.statistics = statistics, .synchronized = true}, world);
  const Tensor x = random_tensor({4, 2}, static_cast<std::uint64_t>(world.rank()));
  const auto check = [&](const Tensor& input, std::int64_t forward) {
    const Counts counts = counts_of(layer, input, Mode::training);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == forward);
    REQUIRE_ON_ALL_RANKS(world, counts.backward == one);
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  };
  for (int step = 0; step < 3; ++step) check(x, one);
  check(moved(x, 100.0), one);
  check(moved(x, 1e6), 3 * one);
  for (int step = 0; step < 3; ++step) check(moved(x, 1e6), one);
  check(x, 3 * one);
  check(x, one);
}

TEST_CASE("data that jumps on one rank only spreads the variance, which no sum minds but integers",
          "[layers]") {
  const Communicator world = Communicator::world();
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  auto layer = built({.statistics = statistics, .synchronized = true}, world);
  Tensor x(Shape{4, 2}, DType::float64);  // constant zero
  counts_of(layer, x, Mode::training);
  if (world.rank() == world.size() - 1) x = moved(random_tensor({4, 2}, 3), 1e9);
  const Counts counts = counts_of(layer, x, Mode::training);
  // Alone in its group the data has jumped as a whole; nobody is told then.
  const std::int64_t rounds = statistics == Statistics::exact ? 3 : 1;
  const std::int64_t expected = world.is_solo() ? 0 : rounds;
  REQUIRE_ON_ALL_RANKS(world, counts.forward == expected);
}

TEST_CASE("a jump of 2^9 standard deviations is one message, one of 2^11 is three", "[layers]") {
  const Communicator world = Communicator::world();
  const std::int64_t one = world.is_solo() ? 0 : 1;
  const double jump = GENERATE(0x1p9, -0x1p9, 0x1p11, -0x1p11);
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  auto layer = built({.statistics = statistics, .synchronized = true}, world);
  // Mean 0 and standard deviation 1 in both channels, the same on all ranks.
  const std::vector<double> values{1, -1, -1, 1, 1, 1, -1, -1};
  const Tensor x = Tensor::of(std::span(values), {4, 2});
  counts_of(layer, x, Mode::training);
  const Counts counts = counts_of(layer, moved(x, jump), Mode::training);
  REQUIRE_ON_ALL_RANKS(world, counts.forward == (std::abs(jump) < 0x1p10 ? one : 3 * one));
}

TEST_CASE("gradients that change their size by much are three messages in backward", "[layers]") {
  const Communicator world = Communicator::world();
  const std::int64_t one = world.is_solo() ? 0 : 1;
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  auto layer = built({.statistics = statistics, .synchronized = true}, world);
  const Tensor x = random_tensor({4, 2}, static_cast<std::uint64_t>(world.rank()));
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  const auto messages_of = [&](double size) {
    Tensor dy = random_tensor({4, 2}, 9);
    for (double& value : dy.values<double>()) value *= size;
    BatchNormalizationTape tape;
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    const std::int64_t before = num_allreduces();
    layer.backward(tape, dy, dx);
    return num_allreduces() - before;
  };
  const std::int64_t jump = (statistics == Statistics::exact ? 3 : 1) * one;
  for (const double size : {1.0, 0.1, 10.0}) REQUIRE_ON_ALL_RANKS(world, messages_of(size) == one);
  REQUIRE_ON_ALL_RANKS(world, messages_of(1e12) == jump);
  REQUIRE_ON_ALL_RANKS(world, messages_of(1e12) == one);
  REQUIRE_ON_ALL_RANKS(world, messages_of(0.0) == one);
  REQUIRE_ON_ALL_RANKS(world, messages_of(1e12) == one);
  REQUIRE_ON_ALL_RANKS(world, messages_of(1e-3) == jump);
  REQUIRE_ON_ALL_RANKS(world, messages_of(1e-3) == one);
}

TEST_CASE("a layer that has warmed up takes nothing from the heap", "[layers]") {
  const Communicator world = Communicator::world();
  const auto statistics = GENERATE(Statistics::exact, Statistics::fast);
  auto layer = built({.statistics = statistics, .synchronized = true}, world);
  const Tensor x = random_tensor({4, 2}, 1), far = moved(x, 1e6);
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  const auto step = [&](const Tensor& input) {
    layer.forward(input, y, {.mode = Mode::training, .tape = &tape});
    layer.backward(tape, x, dx);
    layer.forward(input, y, {.mode = Mode::inference});
  };
  step(x);
  step(far);
  const std::int64_t before = num_allocations();
  step(x);
  step(far);
  step(far);
  const std::int64_t after = num_allocations();
  REQUIRE_ON_ALL_RANKS(world, after == before);
}

TEST_CASE("inference, frozen and plain layers send nothing", "[layers]") {
  const Communicator world = Communicator::world();
  const Tensor x = random_tensor({4, 2}, 1);
  const auto check = [&](BatchNormalizationOptions options, const Communicator& group, Mode mode) {
    auto layer = built(std::move(options), group);
    const Counts counts = counts_of(layer, x, mode);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == 0);
    REQUIRE_ON_ALL_RANKS(world, counts.backward == 0);
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  };
  check({.synchronized = true}, world, Mode::inference);
  check({.trainable = false, .synchronized = true}, world, Mode::training);
  check({.synchronized = false}, world, Mode::training);
  check({.synchronized = true}, Communicator(), Mode::training);
}
