// Channels that are merged group by group: the same bits as all at once, one message per group.

#include "layers/channel_groups.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/convert.hpp"
#include "layers/grouped_layers.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/kernels.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Random numbers times `size` and plus `mean`, in one channel only where that is given.
struct Data {
  double mean = 0.0, size = 1.0;
  std::optional<std::int64_t> channel = std::nullopt;
};

Tensor numbers(const Shape& shape, DType dtype, const Data& data, std::uint64_t seed) {
  const Tensor noise = random_tensor(shape, seed);
  std::vector<double> values(noise.values<double>().begin(), noise.values<double>().end());
  const std::int64_t plane = shape[2] * shape[3];
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!data.channel || static_cast<std::int64_t>(i) / plane % shape[1] == *data.channel)
      values[i] = data.mean + data.size * values[i];
  Tensor result(shape, dtype);
  write_from_double(values, result);
  return result;
}

struct Step {
  Data x, dy;
};

// All bits that training steps leave behind on this rank.
struct Outcome {
  std::vector<std::byte> bits;
  std::vector<std::int64_t> num_forward, num_backward;  // messages of each step

  void append(const TensorView& values) {
    const auto* first = static_cast<const std::byte*>(values.data());
    bits.insert(bits.end(), first,
                first + static_cast<std::size_t>(values.num_elements()) * size_of(values.dtype()));
  }
};

struct Setting {
  BatchNormalizationOptions options;
  std::vector<Step> steps;
  bool has_residual = false;
  bool has_weights = false;
  bool is_in_place = false;    // dx over dy
  bool has_new_tapes = false;  // one per step
  Shape shape = global_shape;
};

Outcome run(const Setting& setting, const Communicator& group, std::int64_t first,
            std::int64_t count) {
  BatchNormalization layer(setting.options);
  const DType dtype = *setting.options.dtype;
  const Shape local = setting.shape.with(0, count);
  layer.build(local, group);
  Tensor y(local, dtype), dx(local, dtype), residual_gradient(local, dtype), gradient(local, dtype);
  Tensor weights(Shape{global_batch}, DType::float32);
  for (std::size_t n = 0; n < weights.values<float>().size(); ++n)
    weights.values<float>()[n] = static_cast<float>(n % 3);
  BatchNormalizationTape tape;
  Outcome outcome;
  for (std::uint64_t step = 0; step < setting.steps.size(); ++step) {
    const Tensor x = numbers(setting.shape, dtype, setting.steps[step].x, 10 + step);
    const Tensor dy = numbers(setting.shape, dtype, setting.steps[step].dy, 20 + step);
    const Tensor residual = numbers(setting.shape, dtype, {}, 30 + step);
    if (setting.has_new_tapes) tape = BatchNormalizationTape();
    Call call{.mode = Mode::training, .tape = &tape};
    if (setting.has_residual) call.residual = TensorView(residual).rows(first, count);
    if (setting.has_weights) call.batch_weights = TensorView(weights).rows(first, count);
    const std::int64_t start = num_allreduces();
    layer.forward(TensorView(x).rows(first, count), y, call);
    const std::int64_t between = num_allreduces();
    TensorView output_gradient = TensorView(dy).rows(first, count);
    if (setting.is_in_place) {
      std::memcpy(gradient.data(), output_gradient.data(),
                  static_cast<std::size_t>(gradient.num_elements()) * size_of(dtype));
      output_gradient = gradient;
    }
    Tensor& target = setting.is_in_place ? gradient : dx;
    layer.backward(
        tape, output_gradient, target,
        setting.has_residual ? MutableTensorView(residual_gradient) : MutableTensorView());
    outcome.num_forward.push_back(between - start);
    outcome.num_backward.push_back(num_allreduces() - between);
    for (const Tensor* tensor : {&y, &target, &residual_gradient}) outcome.append(*tensor);
    for (Variable* variable : layer.variables()) {
      outcome.append(variable->value());
      if (variable->role() == VariableRole::parameter) outcome.append(variable->grad());
    }
  }
  return outcome;
}

// Every cut and size of groups gives the bits of all channels at once.
void check_bits(Setting setting) {
  const Communicator world = Communicator::world();
  const auto at = static_cast<std::size_t>(world.rank());
  const std::int64_t plane = setting.shape[2] * setting.shape[3];
  const auto bytes_of_channel = static_cast<std::int64_t>(size_of(*setting.options.dtype)) * plane *
                                global_batch / world.size();
  for (const auto& cut : cuts_of(global_batch, world.size())) {
    const std::int64_t first = first_of(cut, world.rank());
    setting.options.channel_group_bytes = all_at_once;
    const Outcome plain = run(setting, world, first, cut[at]);
    for (const std::int64_t bytes :
         {one_channel, 2 * bytes_of_channel + 8, 3 * bytes_of_channel + 8}) {
      setting.options.channel_group_bytes = bytes;
      const Outcome grouped = run(setting, world, first, cut[at]);
      REQUIRE_ON_ALL_RANKS(world, grouped.bits == plain.bits);
    }
  }
}

const std::vector<Step> calm{{}, {{0.3, 1.1}, {}}, {}};
// Channel 0 brings a round to one group, channel 5 to another; sizes between those that surely fit
// a grid and those that surely do not are in all others.
const std::vector<Step> jumps{{{0.0, 200.0}, {}},
                              {{0.0, 200.0}, {}},
                              {{1e6, 1.0, 0}, {}},
                              {{1e6, 1.0, 5}, {0.0, 1e9, 2}},
                              {{0.0, 3000.0}, {0, 3e4}},
                              {{1e9, 1.0, 3}, {0.0, 1e-9, 3}},
                              {{}, {}}};

}  // namespace

TEST_CASE("groups of channels leave the bits of all channels at once", "[layers][exact]") {
  const DType dtype = GENERATE(DType::float32, DType::float64, DType::bfloat16);
  check_bits({.options = options_of(0, dtype), .steps = calm});
  check_bits({.options = options_of(0, dtype), .steps = jumps});
}

TEST_CASE("a channel beyond the range of float leaves others their bits in groups",
          "[layers][exact]") {
  auto options = options_of(0, DType::float32);
  options.epsilon = 0.0;
  options.activation = ActivationFunction::leaky_relu;
  const std::vector<Step> tiny{{}, {{0.0, 1e-42, 2}, {}}, {{0.0, 1e-42, 4}, {0.0, 1e30, 1}}, {}};
  check_bits({.options = options, .steps = tiny});
  check_bits({.options = options, .steps = tiny, .has_residual = true});
}

TEST_CASE("groups of channels go with what calls may bring", "[layers][exact]") {
  auto options = options_of(0, DType::float32);
  options.activation = ActivationFunction::relu;
  check_bits({.options = options, .steps = jumps, .has_residual = true});
  // Gates of a group are whole bytes here.
  const Shape even{global_batch, num_channels, 4, 10};
  check_bits({.options = options, .steps = jumps, .has_residual = true, .shape = even});
  check_bits({.options = options, .steps = jumps, .is_in_place = true});
  check_bits({.options = options, .steps = calm, .has_weights = true});
  check_bits({.options = options, .steps = jumps, .has_new_tapes = true});
  options.activation = ActivationFunction::gelu;
  check_bits({.options = options, .steps = calm, .has_residual = true});
}

TEST_CASE("every target of the kernels leaves those bits in groups", "[layers][exact]") {
  for (const KernelTarget target : supported_kernel_targets()) {
    const ChosenKernels kernels(target);
    check_bits({.options = options_of(0, DType::float32), .steps = calm, .is_in_place = true});
  }
}

TEST_CASE("fast sums in groups are those of all channels, up to rounding", "[layers]") {
  const Communicator world = Communicator::world();
  const Shape local = global_shape.with(0, 2);
  const auto seed = static_cast<std::uint64_t>(world.rank());
  const auto dx_of = [&](std::int64_t group_bytes) {
    auto options = options_of(group_bytes);
    options.statistics = Statistics::fast;
    BatchNormalization layer(options);
    layer.build(local, world);
    BatchNormalizationTape tape;
    Tensor y(local, DType::float64), dx(local, DType::float64);
    for (const double mean : {0.0, 0.5, 1e6, 0.0}) {
      layer.forward(numbers(local, DType::float64, {mean, 1.0, 4}, seed), y,
                    {.mode = Mode::training, .tape = &tape});
      const Tensor x = numbers(local, DType::float64, {mean, 1.0, 4}, seed);
      layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
      layer.backward(tape, random_tensor(local, 5 + seed), dx);
    }
    return dx;
  };
  const Tensor plain = dx_of(all_at_once), grouped = dx_of(one_channel);
  bool is_close = true;
  for (std::size_t i = 0; i < plain.values<double>().size(); ++i)
    is_close = is_close && grouped.values<double>()[i] ==
                               Approx(plain.values<double>()[i]).epsilon(1e-9).margin(1e-9);
  REQUIRE_ON_ALL_RANKS(world, is_close);
}

TEST_CASE("one message per group once a batch was seen, and two more in a group that jumps",
          "[layers]") {
  const Communicator world = Communicator::world();
  const std::int64_t one = world.is_solo() ? 0 : 1;
  const Setting setting{.options = options_of(one_channel),
                        .steps = {{}, {}, {{1e6, 1.0, 3}, {}}, {{1e6, 1.0, 3}, {0.0, 1e12, 2}}}};
  const std::int64_t count = global_batch / world.size();
  const Outcome outcome = run(setting, world, world.rank() * count, count);
  const std::int64_t groups = one * num_channels;
  REQUIRE_ON_ALL_RANKS(world, outcome.num_forward == (std::vector<std::int64_t>{
                                                         one, groups, groups + 2 * one, groups}));
  REQUIRE_ON_ALL_RANKS(world,
                       outcome.num_backward ==
                           (std::vector<std::int64_t>{groups, groups, groups, groups + 2 * one}));
}

TEST_CASE("groups take nothing from the heap, once they have warmed up", "[layers]") {
  const Communicator world = Communicator::world();
  BatchNormalization layer(options_of(one_channel));
  const Shape local = global_shape.with(0, 2);
  layer.build(local, world);
  const Tensor x = random_tensor(local, 1), dy = random_tensor(local, 2);
  Tensor y(local, DType::float64), dx(local, DType::float64);
  BatchNormalizationTape tape;
  const auto step = [&] {
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    layer.backward(tape, dy, dx);
  };
  step();
  step();
  const std::int64_t before = num_allocations();
  step();
  const std::int64_t after = num_allocations();
  REQUIRE_ON_ALL_RANKS(world, after == before);
}

TEST_CASE("channels make groups where that pays, all of one size", "[layers]") {
  const double channel = 100.0 * 1024.0;
  const Grouping large{.num_channels = 512, .channel_bytes = channel};
  CHECK(channels_per_group(large) == 2);
  const auto with = [&](auto&& change) {
    Grouping grouping = large;
    change(grouping);
    return channels_per_group(grouping);
  };
  CHECK(with([](Grouping& g) { g.num_channels = 64; }) == 64);       // fits the cache as it is
  CHECK(with([](Grouping& g) { g.channel_bytes *= 30.0; }) == 512);  // a channel does not
  CHECK(with([](Grouping& g) { g.channel_bytes = 0.0; }) == 512);    // nobody had a sample
  CHECK(with([](Grouping& g) { g.is_alone = false; }) == 512);       // unless that is asked for
  CHECK(with([](Grouping& g) { g.group_bytes = 0; }) == 512);
  CHECK(with([](Grouping& g) {
          g.group_bytes = 1;
          g.is_alone = false;
        }) == 1);
  for (const std::size_t count : {1U, 6U, 7U, 12U, 97U, 1000U})
    for (const std::int64_t group_bytes : {1, 300'000, 1'000'000, 1'000'000'000}) {
      const Grouping asked{
          .num_channels = count, .channel_bytes = channel, .group_bytes = group_bytes};
      const std::size_t size = channels_per_group(asked);
      CHECK(count % size == 0);
      CHECK((size == 1 || static_cast<double>(size) * channel <= static_cast<double>(group_bytes)));
    }
}
