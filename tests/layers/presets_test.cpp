// Presets compute what their systems compute.

#include "lockstep/layers/presets.hpp"

#include <cmath>
#include <vector>

#include "layers/system_reference.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double tolerance = 1e-13;

BatchNormalization built(BatchNormalizationOptions options, const Shape& shape) {
  options.dtype = DType::float64;
  BatchNormalization layer(std::move(options));
  layer.build(shape, Communicator());
  return layer;
}

// moving_variance / biased variance after one batch of n elements per channel, without memory of
// what was before: 1, or n / (n - 1).
double stored_ratio(BatchNormalizationOptions options, const Shape& shape, const Call& call = {}) {
  options.momentum = 0.0;
  BatchNormalization layer = built(std::move(options), shape);
  BatchNormalizationTape tape;
  Call training = call;
  training.mode = Mode::training;
  training.tape = &tape;
  (void)output_of(layer, random_tensor(shape, 5), training);
  layer.apply_updates();
  return values_of(layer.moving_variance())[0] / tape.batch_variance()[0];
}

// Whether TensorFlow's fused kernel seems to have run for a batch of 4 elements per channel.
bool seems_fused(const BatchNormalizationOptions& options, const Shape& shape,
                 const Call& call = {}) {
  const double ratio = stored_ratio(options, shape, call);
  const bool is_biased = std::abs(ratio - 1.0) < 1e-12;
  const bool is_unbiased = std::abs(ratio - 4.0 / 3.0) < 1e-12;
  REQUIRE(is_biased != is_unbiased);
  return is_unbiased;
}

Tensor tensor_of(const std::vector<double>& values, const Shape& shape) {
  return Tensor::of(std::span(values), shape);
}

template <class Change>
BatchNormalizationOptions changed(BatchNormalizationOptions options, Change&& change) {
  change(options);
  return options;
}

// The epsilon that makes y = x / sqrt(variance + epsilon) of the smaller of the two batches
// {-0.001, 0.001} in training, and of the moving variance 1e-6 in inference.
double epsilon_of(BatchNormalizationOptions options, Mode mode) {
  options.moving_variance_initializer = Constant{1e-6};
  BatchNormalization layer = built(std::move(options), {2, 1, 1, 1});
  const std::vector<double> values{-1e-3, 1e-3};
  const Tensor x = Tensor::of(std::span(values), {2, 1, 1, 1});
  const Tensor output = output_of(layer, x, {.mode = mode});
  const double y = output.values<double>()[1];
  const double variance = values_of(layer.moving_variance())[0];
  return 1e-6 / (y * y) - (mode == Mode::training ? 1e-6 : variance);
}

}  // namespace

TEST_CASE("Keras averages biased variances, whatever the rank") {
  const System system{.old_weight = 0.99, .epsilon = 1e-3};
  for (const auto& options : {keras(), keras_sync()}) {
    CHECK(deviation_from(system, options, {6, 3}) < tolerance);
    System last = system;
    last.channel_axis = 3;
    CHECK(deviation_from(last, options, {2, 2, 3, 4}) < tolerance);
  }
  CHECK(keras_sync().synchronized);
  CHECK_FALSE(keras().synchronized);
}

TEST_CASE("Keras of TensorFlow 1 averages unbiased variances for images only") {
  CHECK(deviation_from({.old_weight = 0.99, .epsilon = 1e-3}, tf1_keras(), {6, 3}) < tolerance);
  CHECK(deviation_from({.old_weight = 0.99, .epsilon = 1e-3, .channel_axis = 2}, tf1_keras(),
                       {3, 2, 3}) < tolerance);
  CHECK(
      deviation_from({.old_weight = 0.99, .epsilon = 1e-3, .is_unbiased = true, .channel_axis = 3},
                     tf1_keras(), {2, 2, 3, 4}) < tolerance);
  CHECK_FALSE(tf1_keras().synchronized);
}

TEST_CASE("PyTorch averages unbiased variances along axis 1") {
  const System system{.old_weight = 1.0 - 0.1, .epsilon = 1e-5, .is_unbiased = true};
  for (const Shape& shape : {Shape{6, 3}, Shape{2, 3, 5}, Shape{2, 3, 2, 2}, Shape{2, 3, 2, 2, 2}})
    CHECK(deviation_from(system, pytorch(), shape) < tolerance);
  CHECK_FALSE(pytorch().synchronized);
}

TEST_CASE("PyTorch's numbers for the batch {0, 2}, by hand") {
  BatchNormalization layer = built(pytorch(), {2, 1});
  const std::vector<double> values{0.0, 2.0};
  const Tensor x = Tensor::of(std::span(values), {2, 1});
  const Tensor y = output_of(layer, x, {.mode = Mode::training});
  CHECK(y.values<double>()[1] == Approx(0.9999950000374997).epsilon(1e-14));
  CHECK(values_of(layer.moving_mean())[0] == Approx(0.1).epsilon(1e-14));
  CHECK(values_of(layer.moving_variance())[0] == Approx(1.1).epsilon(1e-14));
  CHECK(values_of(layer.variable("num_updates"))[0] == 1.0);
}

TEST_CASE("PyTorch's numbers, recorded from BatchNorm2d(2) of PyTorch 1.13 in float64") {
  BatchNormalization layer = built(pytorch(), {2, 2, 2, 2});
  layer.gamma().assign(tensor_of({1.5, -0.5}, {2}));
  layer.beta().assign(tensor_of({0.25, 2.0}, {2}));
  const Tensor first = tensor_of({0.5, -1.0, 2.0, 1.5, 4.0, 3.0, 3.5, 5.0,  //
                                  -2.0, 0.0, 1.0, 0.75, 6.0, 2.5, 4.5, 3.25},
                                 {2, 2, 2, 2});
  const Tensor x = tensor_of({1.0, 2.5, -0.5, 0.25, 1.0, 8.0, 2.0, -4.0}, {1, 2, 2, 2});
  const Tensor dy = tensor_of({1.0, -0.5, 2.0, 0.25, -1.0, 0.5, 3.0, 0.125}, {1, 2, 2, 2});
  (void)output_of(layer, first, {.mode = Mode::training});
  BatchNormalizationTape tape;
  const Tensor y = output_of(layer, x, {.mode = Mode::training, .tape = &tape});
  Tensor dx(x.shape(), DType::float64);
  layer.backward(tape, dy, dx);
  const auto near = [](const auto& values, const std::vector<double>& recorded) {
    return distance(values, recorded) < 1e-14;
  };
  CHECK(near(y.values<double>(),
             {0.5035452461415528, 2.5319072152739754, -1.5248167229908698, -0.5106357384246585,
              2.0879315330904684, 1.267237224246097, 1.970689488969844, 2.6741417536935908}));
  CHECK(near(dx.values<double>(), {0.5988482916531392, -0.01933062614153993, 0.5409065530703443,
                                   -1.1204242185819435, 0.18946072853315737, 0.05766412807407214,
                                   -0.27321223856050464, 0.02608738195327516}));
  CHECK(near(layer.gamma().grad().values<double>(), {-3.084800494722226, 0.9159534696923788}));
  CHECK(near(layer.beta().grad().values<double>(), {2.75, 2.625}));
  CHECK(near(values_of(layer.moving_mean()), {0.11218750000000001, 0.5321875}));
  CHECK(near(values_of(layer.moving_variance()), {1.1298549107142857, 3.3546316964285716}));
  CHECK(near(output_of(layer, x).values<double>(),
             {1.502850509092701, 3.6195989933042334, -0.6138979751188318, 0.44447626698693454,
              1.8722918081524507, -0.0386390518242381, 1.599301685298638, 3.237242422421514}));
}

TEST_CASE("PyTorch's momentum None is the average of all batches") {
  BatchNormalization layer =
      built(changed(pytorch(), [](auto& options) { options.momentum = std::nullopt; }), {2, 1});
  for (const double mean : {1.0, 5.0, 9.0}) {
    const std::vector<double> values{mean - 1.0, mean + 1.0};
    (void)output_of(layer, Tensor::of(std::span(values), {2, 1}), {.mode = Mode::training});
  }
  CHECK(values_of(layer.moving_mean())[0] == Approx(5.0).epsilon(1e-14));
  CHECK(values_of(layer.moving_variance())[0] == Approx(2.0).epsilon(1e-14));
}

TEST_CASE(
    "frozen layers normalize by the moving statistics in Keras, by the batch in TensorFlow 1") {
  const auto frozen = [](BatchNormalizationOptions options) {
    options.trainable = false;
    return built(std::move(options), {4, 2});
  };
  const Tensor x = random_tensor({4, 2}, 7);
  for (const auto& options : {keras(), keras_sync()}) {
    BatchNormalization layer = frozen(options);
    const Tensor y = output_of(layer, x, {.mode = Mode::training});
    CHECK(y.values<double>()[0] == Approx(x.values<double>()[0] / std::sqrt(1.001)));
    CHECK(values_of(layer.moving_mean()) == std::vector{0.0, 0.0});
  }
  BatchNormalization layer = frozen(tf1_keras());
  const Tensor y = output_of(layer, x, {.mode = Mode::training});
  double sum = 0.0;
  for (std::size_t i = 0; i < 8; i += 2) sum += y.values<double>()[i];
  CHECK(std::abs(sum) < 1e-13);
  CHECK(values_of(layer.moving_mean()) == std::vector{0.0, 0.0});
}

TEST_CASE(
    "the unbiased variance is stored where TensorFlow's fused kernel runs, and nowhere else") {
  const Shape image{1, 2, 2, 2};  // 4 elements per channel, last axis or axis 1
  const auto seems = [&](auto&& change) {
    return seems_fused(changed(tf1_keras(), change), image);
  };
  CHECK(seems([](auto&) {}));
  CHECK(seems([](auto& options) { options.axis = 1; }));
  CHECK(seems([](auto& options) { options.axis = -1; }));
  CHECK(seems([](auto& options) { options.fused = true; }));
  CHECK(seems([](auto& options) { options.data_format = "NCHW"; }));
  CHECK(seems([](auto& options) { options.zero_debias_moving_mean = true; }));
  CHECK_FALSE(seems([](auto& options) { options.fused = false; }));
  CHECK_FALSE(seems([](auto& options) { options.moving_variance = MovingVariance::biased; }));
  CHECK_FALSE(seems([](auto& options) { options.virtual_batch_size = 1; }));
  CHECK_FALSE(seems([](auto& options) {
    options.adjustment = [](const Shape&) {
      const std::vector<double> ones{1.0, 1.0}, zeros{0.0, 0.0};
      return Adjustment{Tensor::of(std::span(ones), {2}), Tensor::of(std::span(zeros), {2})};
    };
  }));
  CHECK_FALSE(seems_fused(changed(tf1_keras(), [](auto& options) { options.axis = 2; }), image));
  CHECK_FALSE(seems_fused(changed(tf1_keras(),
                                  [](auto& options) {
                                    options.axis = {1, 3};
                                  }),
                          {2, 2, 2, 2}));
  CHECK_FALSE(seems_fused(tf1_keras(), {4, 2}));
  CHECK_FALSE(seems_fused(tf1_keras(), {2, 2, 2}));
  CHECK_FALSE(seems_fused(tf1_keras(), {1, 1, 2, 2, 2}));

  const std::vector<double> weight{1.0};
  CHECK_FALSE(seems_fused(tf1_keras(), image, {.batch_weights = view(weight, {1})}));
  // Standard deviations are averaged: neither variance is stored, but the biased one is behind it.
  CHECK(stored_ratio(changed(tf1_keras(), [](auto& options) { options.renorm = true; }), image) ==
        Approx(1.0).epsilon(1e-12));
}

TEST_CASE("contrib's fused kernel takes matrices too") {
  CHECK(seems_fused(contrib(), {4, 2}));
  CHECK(seems_fused(contrib({.fused = true}), {4, 2}));
  CHECK(seems_fused(contrib({.data_format = "NCHW"}), {4, 2}));
  CHECK(seems_fused(contrib(), {1, 2, 2, 2}));
  CHECK(seems_fused(contrib({.data_format = "NCHW"}), {1, 2, 2, 2}));
  CHECK(seems_fused(contrib({.updates_collections = {}}), {4, 2}));
  CHECK_FALSE(seems_fused(contrib({.fused = false}), {4, 2}));
  CHECK_FALSE(seems_fused(contrib(), {2, 2, 2}));
  CHECK_FALSE(seems_fused(contrib({.fused = true}), {1, 1, 2, 2, 2}));  // "if possible"
  CHECK_FALSE(seems_fused(
      contrib({.adjustment =
                   [](const Shape&) {
                     return Adjustment{Tensor({1}, DType::float64), Tensor({1}, DType::float64)};
                   }}),
      {4, 2}));
  const std::vector<double> weights{1.0, 1.0, 1.0, 1.0};
  CHECK_FALSE(seems_fused(contrib(), {4, 2}, {.batch_weights = view(weights, {4})}));
}

TEST_CASE("the fused kernel has a smallest epsilon, in training and in inference") {
  constexpr double smallest = 1.001e-5;
  const auto with = [](double epsilon, std::optional<bool> fused) {
    return changed(tf1_keras(), [&](auto& options) {
      options.epsilon = epsilon;
      options.fused = fused;
    });
  };
  for (const Mode mode : {Mode::training, Mode::inference}) {
    CHECK(epsilon_of(with(1e-7, std::nullopt), mode) == Approx(smallest).epsilon(1e-9));
    CHECK(epsilon_of(with(0.0, true), mode) == Approx(smallest).epsilon(1e-9));
    CHECK(epsilon_of(with(2e-5, std::nullopt), mode) == Approx(2e-5).epsilon(1e-9));
    CHECK(epsilon_of(with(1e-7, false), mode) == Approx(1e-7).epsilon(1e-6));
    CHECK(epsilon_of(contrib({.epsilon = 1e-7}), mode) == Approx(smallest).epsilon(1e-9));
    CHECK(epsilon_of(contrib({.epsilon = 1e-7, .fused = false}), mode) ==
          Approx(1e-7).epsilon(1e-6));
  }
}
