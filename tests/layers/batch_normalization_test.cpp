// Batch normalization on one rank: numbers worked out by hand, modes, gradients, refusals.

#include "lockstep/layers/batch_normalization.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using lockstep::testing::distance;
using lockstep::testing::gradient_error;
using lockstep::testing::random_tensor;
using lockstep::testing::values_of;

namespace {

BatchNormalization built(BatchNormalizationOptions options, const Shape& shape) {
  if (!options.dtype) options.dtype = DType::float64;
  BatchNormalization layer(std::move(options));
  layer.build(shape);
  return layer;
}

Tensor tensor_of(const std::vector<double>& values, const Shape& shape) {
  return Tensor::of(std::span(values), shape);
}

const Call training{.mode = Mode::training};

}  // namespace

TEST_CASE("a batch is normalized by its own mean and biased variance", "[layers]") {
  auto layer = built({.momentum = 0.75, .epsilon = 0.25}, {4, 2});
  // Channel 0: mean 3, variance 3.75; channel 1 is constant.
  const Tensor x = tensor_of({0, 7, 3, 7, 3, 7, 6, 7}, {4, 2});
  Tensor y(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});

  const double rho = 1.0 / std::sqrt(4.5 + 0.25);
  CHECK(distance(y.values<double>(), std::vector{-3 * rho, 0.0, 0.0, 0.0, 0.0, 0.0, 3 * rho, 0.0}) <
        1e-15);
  CHECK(tape.batch_count()[0] == 4.0);
  CHECK(distance(tape.batch_mean(), std::vector{3.0, 7.0}) < 1e-15);
  CHECK(distance(tape.batch_variance(), std::vector{4.5, 0.0}) < 1e-15);
  CHECK(distance(values_of(layer.moving_mean()), std::vector{0.75, 1.75}) < 1e-15);
  CHECK(distance(values_of(layer.moving_variance()), std::vector{0.75 + 4.5 / 4, 0.75}) < 1e-15);
}

TEST_CASE(
    "a value that is the mean is on one side of an activation's kink, not rounded to either") {
  for (const DType dtype : {DType::float32, DType::float64})
    for (int i = 1; i <= 40; ++i) {
      // On the first call the sums are taken about 0, far from the mean i.
      auto layer = built({.gamma_initializer = Constant{0.05 * i},
                          .activation = ActivationFunction::relu,
                          .dtype = dtype},
                         {3, 1});
      Tensor x({3, 1}, dtype), dy({3, 1}, dtype), y({3, 1}, dtype), dx({3, 1}, dtype);
      write_from_double(std::vector{i - 1.0, i + 0.0, i + 1.0}, x);
      write_from_double(std::vector{1.0, 10.0, 100.0}, dy);
      BatchNormalizationTape tape;
      layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
      layer.backward(tape, dy, dx);
      std::vector<double> gradient(1);
      read_as_double(layer.beta().grad(), gradient);
      REQUIRE(gradient[0] == 100.0);
    }
}

TEST_CASE("inference uses the moving statistics and changes nothing", "[layers]") {
  auto layer = built({.epsilon = 1.0}, {2, 2});
  layer.moving_mean().assign(tensor_of({1, -1}, {2}));
  layer.moving_variance().assign(tensor_of({3, 8}, {2}));
  layer.gamma().assign(tensor_of({2, 3}, {2}));
  layer.beta().assign(tensor_of({10, 20}, {2}));
  const Tensor x = tensor_of({3, 2, 1, -1}, {2, 2});
  Tensor y(x.shape(), DType::float64);
  layer.forward(x, y, {});
  CHECK(distance(y.values<double>(), std::vector{12.0, 23.0, 10.0, 20.0}) < 1e-15);
  CHECK(values_of(layer.moving_mean()) == std::vector{1.0, -1.0});
  CHECK(values_of(layer.moving_variance()) == std::vector{3.0, 8.0});
}

TEST_CASE("any axis of any rank gives what the same channels give last", "[layers]") {
  struct Case {
    Shape shape;
    int axis;
    std::int64_t outer, channels, inner;
  };
  const Case layout = GENERATE(values<Case>({
      {{6, 5}, -1, 6, 5, 1},
      {{6, 5}, 1, 6, 5, 1},
      {{4, 3, 2}, 1, 4, 3, 2},
      {{4, 3, 2}, -2, 4, 3, 2},
      {{2, 3, 4, 5}, 1, 2, 3, 20},
      {{2, 3, 4, 5}, 3, 24, 5, 1},
      {{2, 3, 4, 5}, 2, 6, 4, 5},
      {{2, 2, 2, 2, 3, 2}, 4, 16, 3, 2},
      {{5}, 0, 1, 5, 1},
      {{4, 6}, 0, 1, 4, 6},
  }));
  const Shape shape = layout.shape;
  const int axis = layout.axis;
  const std::int64_t outer = layout.outer, channels = layout.channels, inner = layout.inner;
  const Tensor x = random_tensor(shape, 1);
  Tensor y(shape, DType::float64);
  built({.axis = axis}, shape).forward(x, y, training);

  const Shape plain{outer * inner, channels};
  Tensor x_last(plain, DType::float64), y_last(plain, DType::float64),
      expected(shape, DType::float64);
  const auto index = [&](std::int64_t o, std::int64_t c, std::int64_t i) {
    return static_cast<std::size_t>((o * channels + c) * inner + i);
  };
  const auto index_last = [&](std::int64_t o, std::int64_t c, std::int64_t i) {
    return static_cast<std::size_t>((o * inner + i) * channels + c);
  };
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < inner; ++i)
        x_last.values<double>()[index_last(o, c, i)] = x.values<double>()[index(o, c, i)];
  built({.axis = -1}, plain).forward(x_last, y_last, training);
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < inner; ++i)
        expected.values<double>()[index(o, c, i)] = y_last.values<double>()[index_last(o, c, i)];
  CHECK(distance(y.values<double>(), expected.values<double>()) < 1e-14);
}

TEST_CASE("gradients of batch normalization are those of finite differences", "[layers]") {
  const double gamma = GENERATE(1.0, 0.0, -2.5);
  const bool is_frozen = GENERATE(false, true);
  const FrozenMode frozen_mode = GENERATE(FrozenMode::inference, FrozenMode::batch_statistics);
  const bool center = GENERATE(true, false);
  const bool scale = GENERATE(true, false);
  auto layer = built({.axis = 1,
                      .center = center,
                      .scale = scale,
                      .gamma_initializer = Constant{gamma},
                      .trainable = !is_frozen,
                      .frozen_mode = frozen_mode},
                     {3, 2, 2, 3});
  CHECK(gradient_error(layer, random_tensor({3, 2, 2, 3}, 5)) < 1e-7);
}

TEST_CASE("gradients in inference mode treat the statistics as constants", "[layers]") {
  auto layer = built({}, {4, 3});
  CHECK(gradient_error(layer, random_tensor({4, 3}, 5), {.mode = Mode::inference}) < 1e-7);
}

TEST_CASE("gradients accumulate when asked", "[layers]") {
  auto layer = built({}, {4, 3});
  const Tensor x = random_tensor({4, 3}, 1), dy = random_tensor({4, 3}, 2);
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, dy, dx);
  const Tensor once = Tensor::copy_of(layer.gamma().grad());
  layer.backward(tape, dy, {}, Gradients::accumulate);
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(layer.gamma().grad().values<double>()[c] == 2.0 * once.values<double>()[c]);
  Tensor in_place = dy;
  layer.backward(tape, in_place, in_place);
  CHECK(distance(in_place.values<double>(), dx.values<double>()) == 0.0);
  CHECK(distance(layer.gamma().grad().values<double>(), once.values<double>()) == 0.0);
}

TEST_CASE("frozen layers do what their mode says", "[layers]") {
  const Tensor x = random_tensor({8, 2}, 3);
  const auto after_training = [&](FrozenMode mode, bool is_trainable) {
    auto layer = built({.momentum = 0.5, .trainable = is_trainable, .frozen_mode = mode}, {8, 2});
    Tensor y(x.shape(), DType::float64);
    layer.forward(x, y, training);
    return std::pair(Tensor::copy_of(y), values_of(layer.moving_mean()));
  };
  const auto [y_trained, mean_trained] = after_training(FrozenMode::inference, true);
  const auto [y_inference, mean_inference] = after_training(FrozenMode::inference, false);
  const auto [y_batch, mean_batch] = after_training(FrozenMode::batch_statistics, false);
  const auto [y_updating, mean_updating] =
      after_training(FrozenMode::batch_statistics_updating, false);
  const std::vector untouched{0.0, 0.0};
  CHECK(mean_inference == untouched);
  CHECK(mean_batch == untouched);
  CHECK(mean_updating == mean_trained);
  CHECK(mean_trained != untouched);
  CHECK(distance(y_batch.values<double>(), y_trained.values<double>()) == 0.0);
  CHECK(distance(y_updating.values<double>(), y_trained.values<double>()) == 0.0);
  CHECK(distance(y_inference.values<double>(), y_trained.values<double>()) > 0.01);
}

TEST_CASE("frozen parameters are not trainable", "[layers]") {
  auto layer = built({}, {8, 2});
  CHECK(layer.gamma().is_trainable());
  CHECK_FALSE(layer.moving_mean().is_trainable());
  layer.set_trainable(false);
  CHECK_FALSE(layer.gamma().is_trainable());
}

TEST_CASE("nothing at all changes nothing", "[layers]") {
  auto layer = built({.axis = 1, .epsilon = 0.0}, {0, 3, 2});
  Tensor x(Shape{0, 3, 2}, DType::float64), y(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, y, x);
  CHECK(tape.batch_count()[0] == 0.0);
  CHECK(values_of(layer.moving_mean()) == std::vector(3, 0.0));
  CHECK(values_of(layer.moving_variance()) == std::vector(3, 1.0));
  for (const double gradient : layer.gamma().grad().values<double>()) CHECK(gradient == 0.0);
}

TEST_CASE("without epsilon a constant channel gives beta and no gradient", "[layers]") {
  auto layer = built({.epsilon = 0.0, .beta_initializer = Constant{0.5}}, {3, 1});
  const Tensor x = tensor_of({2, 2, 2}, {3, 1});
  Tensor y(x.shape(), DType::float64), dx(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
  layer.backward(tape, tensor_of({1, -2, 3}, {3, 1}), dx);
  for (const double value : y.values<double>()) CHECK(value == 0.5);
  for (const double value : dx.values<double>()) CHECK(value == 0.0);
}

TEST_CASE("a call leaves the layer's state to its caller when told to", "[layers]") {
  auto layer = built({.momentum = 0.5}, {4, 1});
  const Tensor x = tensor_of({1, 2, 3, 6}, {4, 1});
  Tensor y(x.shape(), DType::float64);
  BatchNormalizationTape first, second;
  const auto call = [&](BatchNormalizationTape& tape) {
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape, .commit = Commit::by_caller});
  };
  call(first);
  call(second);  // sees the state from before the first
  CHECK(values_of(layer.moving_mean()) == std::vector{0.0});
  layer.commit(first);
  CHECK(values_of(layer.moving_mean()) == std::vector{1.5});
  layer.commit(second);
  CHECK(values_of(layer.moving_mean()) == std::vector{2.25});
  layer.commit(second);  // once only
  CHECK(values_of(layer.moving_mean()) == std::vector{2.25});
}

TEST_CASE("options that cannot be used are refused when the layer is built", "[layers]") {
  const auto build = [](BatchNormalizationOptions options, const Shape& shape) {
    BatchNormalization(std::move(options)).build(shape);
  };
  CHECK_THROWS_AS(build({.axis = 2}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({.axis = -3}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({}, {4, 0}), ArgumentError);
  CHECK_THROWS_AS(build({}, {4, -1}), ArgumentError);
  CHECK_THROWS_AS(build({}, {}), ArgumentError);
  CHECK_THROWS_AS(build({.momentum = 1.5}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({.momentum = std::nan("")}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({.epsilon = -1e-3}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({.moving_variance_initializer = Constant{-1}}, {4, 3}), ArgumentError);
  CHECK_THROWS_AS(build({.dtype = DType::int64}, {4, 3}), ArgumentError);
}

TEST_CASE("a call that backward follows must leave its input as it is", "[layers]") {
  auto layer = built({}, {4, 2});
  Tensor x = random_tensor({4, 2}, 1);
  BatchNormalizationTape tape;
  CHECK_THROWS_AS(layer.forward(x, x, {.mode = Mode::training, .tape = &tape}), ArgumentError);
  const Tensor before = Tensor::copy_of(x);
  layer.forward(x, x, training);  // no tape, no backward
  CHECK(distance(x.values<double>(), before.values<double>()) > 0.1);
}

TEST_CASE("without moving statistics inference needs variables only", "[layers]") {
  BatchNormalization layer({.track_moving_statistics = false, .dtype = DType::float64});
  auto other = built({.track_moving_statistics = false}, {4, 2});
  layer.create({4, 2}, DType::float64, 0);
  const Tensor x = random_tensor({4, 2}, 1);
  Tensor y({4, 2}, DType::float64), expected({4, 2}, DType::float64);
  layer.forward(x, y, {.mode = Mode::inference});
  other.forward(x, expected, training);
  CHECK(distance(y.values<double>(), expected.values<double>()) == 0.0);
}

TEST_CASE("calls that do not fit say what was expected", "[layers]") {
  auto layer = built({}, {4, 3});
  Tensor y(Shape{4, 3}, DType::float64);
  const auto message_of = [&](const Tensor& x) -> std::string {
    try {
      layer.forward(x, y, training);
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "";
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message_of(Tensor({4, 2}, DType::float64)), Contains("[4, 3]") && Contains("[4, 2]"));
  CHECK_THAT(message_of(Tensor({4, 3}, DType::float32)),
             Contains("float64") && Contains("float32"));
  CHECK_THAT(message_of(Tensor({5, 3}, DType::float64)), Contains("[5, 3]"));
  BatchNormalization unbuilt;
  CHECK_THROWS_AS(unbuilt.forward(y, y, training), StateError);
  BatchNormalizationTape unused;
  CHECK_THROWS_AS(layer.backward(unused, y, y), StateError);
  CHECK_THROWS_AS(layer.build({4, 3}), StateError);
}

TEST_CASE("NaN and infinity in a training batch are named and change nothing", "[layers]") {
  const double bad =
      GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
               -std::numeric_limits<double>::infinity());
  auto layer = built({.name = "bn"}, {2, 3});
  Tensor x = random_tensor({2, 3}, 1), y(x.shape(), DType::float64);
  x.values<double>()[4] = bad;
  try {
    layer.forward(x, y, training);
    FAIL("no error");
  } catch (const NonFiniteError& error) {
    REQUIRE(error.origin() != nullptr);
    CHECK(error.origin()->channel == 1);
    CHECK_THAT(error.what(), Catch::Matchers::Contains("bn"));
  }
  CHECK(values_of(layer.moving_mean()) == std::vector(3, 0.0));
  x.values<double>()[4] = 0.5;
  CHECK_NOTHROW(layer.forward(x, y, training));
}

TEST_CASE("a variance beyond double is an error, not infinity", "[layers]") {
  auto layer = built({}, {2, 1});
  Tensor y(Shape{2, 1}, DType::float64);
  CHECK_THROWS_AS(layer.forward(tensor_of({-1e300, 1e300}, {2, 1}), y, training), NonFiniteError);

  auto single = built({.dtype = DType::float32}, {2, 1});
  const std::vector<float> wide{-3e38F, 3e38F};
  std::vector<float> out(2);
  CHECK_THROWS_AS(single.forward(view(wide, {2, 1}), view(out, {2, 1}), training), NonFiniteError);
  CHECK(single.moving_variance().value().values<float>()[0] == 1.0F);
}

TEST_CASE("a tape belongs to the layer that recorded it", "[layers]") {
  auto wide = built({}, {4, 300}), narrow = built({}, {4, 3});
  const Tensor x = random_tensor({4, 300}, 1);
  Tensor y(x.shape(), DType::float64);
  BatchNormalizationTape tape;
  wide.forward(x, y, {.mode = Mode::training, .tape = &tape, .commit = Commit::by_caller});
  narrow.commit(tape);
  CHECK(values_of(narrow.moving_mean()) == std::vector(3, 0.0));
  CHECK_THROWS_AS(narrow.backward(tape, y, y), StateError);
  CHECK_THROWS_AS(wide.forward(x, y, {.mode = Mode::training, .commit = Commit::by_caller}),
                  ArgumentError);

  BatchNormalizationTape moved = std::move(tape);
  CHECK(moved.batch_count()[0] == 4.0);
  CHECK(tape.batch_mean().empty());  // NOLINT: that is the question
  CHECK_NOTHROW(wide.forward(x, y, {.mode = Mode::training, .tape = &tape}));
}

TEST_CASE("a layer that was moved works, one that was moved from says that it cannot", "[layers]") {
  auto source = built({}, {4, 3});
  BatchNormalization layer = std::move(source);
  const Tensor x = random_tensor({4, 3}, 1);
  Tensor y(x.shape(), DType::float64);
  layer.forward(x, y, training);
  CHECK(values_of(layer.moving_mean()) != std::vector(3, 0.0));
  CHECK_THROWS_AS(source.forward(x, y, training), StateError);  // NOLINT: that is the question
}
