// Convolution: laws of image layers, and a direct sum as reference.

#include "lockstep/layers/conv2d.hpp"

#include <array>
#include <utility>

#include "layers/image_layer_laws.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using testing::distance;
using testing::output_of;
using testing::random_tensor;

constexpr std::array<Size2D, 4> kernel_sizes{{{1, 1}, {2, 2}, {3, 3}, {3, 2}}};
constexpr std::array<Size2D, 3> all_strides{{{1, 1}, {2, 2}, {2, 1}}};

// Calls check(options) for every combination, NHWC.
template <class Check>
void for_all_options(Check&& check) {
  for (const Size2D& kernel_size : kernel_sizes)
    for (const Size2D& strides : all_strides)
      for (const Padding padding : {Padding::valid, Padding::same})
        check(Conv2DOptions{
            .filters = 2, .kernel_size = kernel_size, .strides = strides, .padding = padding});
}

// Padding in front along one axis by TensorFlow's formula.
std::int64_t padding_before(Padding padding, std::int64_t input, std::int64_t output,
                            std::int64_t size, std::int64_t stride) {
  if (padding == Padding::valid) return 0;
  return std::max<std::int64_t>((output - 1) * stride + size - input, 0) / 2;
}

// The convolution as six plain loops (and one over samples), NHWC.
Tensor reference(const Conv2DOptions& options, const Tensor& input, const Tensor& kernel,
                 const Tensor& bias, const Shape& output_shape) {
  const Shape& in = input.shape();
  const Size2D& size = options.kernel_size;
  const Size2D& strides = options.strides;
  const std::int64_t top =
      padding_before(options.padding, in[1], output_shape[1], size.height, strides.height);
  const std::int64_t left =
      padding_before(options.padding, in[2], output_shape[2], size.width, strides.width);
  const double* const x = input.values<double>().data();
  const double* const k = kernel.values<double>().data();
  Tensor output(output_shape, DType::float64);
  double* y = output.values<double>().data();
  for (std::int64_t n = 0; n < in[0]; ++n)
    for (std::int64_t i = 0; i < output_shape[1]; ++i)
      for (std::int64_t j = 0; j < output_shape[2]; ++j)
        for (std::int64_t f = 0; f < options.filters; ++f, ++y) {
          *y = bias.values<double>()[static_cast<std::size_t>(f)];
          for (std::int64_t p = 0; p < size.height; ++p)
            for (std::int64_t q = 0; q < size.width; ++q)
              for (std::int64_t c = 0; c < in[3]; ++c) {
                const std::int64_t row = i * strides.height + p - top;
                const std::int64_t column = j * strides.width + q - left;
                if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) continue;
                *y += x[((n * in[1] + row) * in[2] + column) * in[3] + c] *
                      k[((p * size.width + q) * in[3] + c) * options.filters + f];
              }
        }
  return output;
}

// Distance of the layer's output from the reference in either dtype.
double error_of(const Conv2DOptions& options, const Tensor& input, DType dtype) {
  Conv2D layer(options);
  layer.create(input.shape(), dtype, 3);
  const Tensor kernel = random_tensor(layer.kernel().shape(), 4);
  const Tensor bias = random_tensor(layer.bias().shape(), 5);
  layer.kernel().assign(kernel);
  layer.bias().assign(bias);
  const Tensor expected =
      reference(options, input, kernel, bias, layer.output_shape(input.shape()));
  if (dtype == DType::float64)
    return distance(output_of(layer, input, {.mode = Mode::training}).values<double>(),
                    expected.values<double>());
  return distance(
      output_of(layer, testing::to_float32(input), {.mode = Mode::training}).values<float>(),
      expected.values<double>());
}

TEST_CASE("convolution is the direct sum") {
  const Tensor input = random_tensor({3, 5, 7, 3}, 1);
  for_all_options([&](const Conv2DOptions& options) {
    CAPTURE(Conv2D(options).configuration());
    REQUIRE(error_of(options, input, DType::float64) < 1e-14);
    REQUIRE(error_of(options, input, DType::float32) < 1e-6);
  });
}

TEST_CASE("convolution is the direct sum where a batch takes several products") {
  const Conv2DOptions options{.filters = 2, .kernel_size = {3, 3}, .padding = Padding::same};
  REQUIRE(error_of(options, random_tensor({5, 24, 24, 16}, 1), DType::float64) < 1e-14);
}

TEST_CASE("convolution obeys the laws of image layers") {
  const Tensor input = random_tensor({3, 5, 7, 2}, 1);
  for_all_options([&](Conv2DOptions options) {
    testing::check_image_layer(
        [&](DataFormat data_format, DType dtype) {
          options.data_format = data_format;
          options.dtype = dtype;
          return std::make_unique<Conv2D>(options);
        },
        input);
  });
}

TEST_CASE("gradients do not depend on how a batch is cut into products") {
  Conv2D layer({.filters = 2, .kernel_size = {3, 3}, .padding = Padding::same});
  const Tensor input = random_tensor({5, 24, 24, 16}, 1);
  layer.create(input.shape(), DType::float64, 3);
  const Tensor weights = random_tensor(layer.output_shape(input.shape()), 2);
  const auto tape = layer.make_tape();
  Tensor whole(input.shape(), DType::float64);
  static_cast<void>(output_of(layer, input, {.mode = Mode::training, .tape = tape.get()}));
  layer.backward(*tape, weights, whole);
  const Tensor kernel_gradient = Tensor::copy_of(layer.kernel().grad());
  const Tensor bias_gradient = Tensor::copy_of(layer.bias().grad());

  Tensor parts(input.shape(), DType::float64);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor sample = Tensor::copy_of(TensorView(input).rows(i, 1));
    static_cast<void>(output_of(layer, sample, {.mode = Mode::training, .tape = tape.get()}));
    layer.backward(*tape, TensorView(weights).rows(i, 1), MutableTensorView(parts).rows(i, 1),
                   i == 0 ? Gradients::overwrite : Gradients::accumulate);
  }
  REQUIRE(distance(parts.values<double>(), whole.values<double>()) < 1e-14);
  REQUIRE(distance(layer.kernel().grad().values<double>(), kernel_gradient.values<double>()) <
          1e-13);
  REQUIRE(distance(layer.bias().grad().values<double>(), bias_gradient.values<double>()) < 1e-13);
}

TEST_CASE("convolution without a bias") {
  Conv2D layer({.filters = 2, .kernel_size = {2, 2}, .use_bias = false});
  const Tensor input = random_tensor({2, 3, 3, 2}, 1);
  REQUIRE_THROWS_AS(layer.kernel(), StateError);
  layer.create(input.shape(), DType::float64, 3);
  REQUIRE(layer.variables().size() == 1);
  REQUIRE_THROWS_AS(layer.bias(), StateError);
  REQUIRE(testing::gradient_error(layer, input) < 1e-8);
}

TEST_CASE("variables have Keras' names, shapes and first values") {
  Conv2D layer({.filters = 4, .kernel_size = {3, 2}, .bias_initializer = Constant{0.5}});
  layer.build({0, 8, 8, 5}, Communicator());
  REQUIRE(layer.kernel().name() == "conv2d/kernel");
  REQUIRE(layer.kernel().shape() == Shape{3, 2, 5, 4});
  REQUIRE(layer.bias().shape() == Shape{4});
  REQUIRE(layer.bias().value().values<float>()[3] == 0.5F);
  const double limit = std::sqrt(6.0 / (3 * 2 * (5 + 4)));  // Glorot and Bengio 2010
  for (const float value : layer.kernel().value().values<float>())
    REQUIRE(std::abs(static_cast<double>(value)) <= limit);
}

TEST_CASE("kernel and bias of a convolution have their regularizers and constraints") {
  Conv2D layer({.filters = 4,
                .kernel_regularizer = l1(0.1),
                .bias_regularizer = l2(0.2),
                .kernel_constraint = MaxNorm{.axes = {0, 1, 2}},
                .bias_constraint = NonNeg{}});
  layer.build({1, 8, 8, 3});
  CHECK(to_string(layer.kernel().regularizer()) == "l1(0.1)");
  CHECK(to_string(layer.bias().regularizer()) == "l2(0.2)");
  CHECK(to_string(layer.kernel().constraint()) == "max_norm(2, axes 0 1 2)");
  CHECK(to_string(layer.bias().constraint()) == "non_neg");
}

TEST_CASE("a moved convolution goes on where it was") {
  const Tensor input = random_tensor({2, 3, 3, 2}, 1);
  Conv2D first({.filters = 2, .kernel_size = {2, 2}});
  first.create(input.shape(), DType::float64, 3);
  const auto tape = first.make_tape();
  const Tensor before = output_of(first, input, {.mode = Mode::training, .tape = tape.get()});

  Conv2D second(std::move(first));
  REQUIRE_NOTHROW(second.backward(*tape, before, {}));
  Conv2D third({.filters = 1});
  third = std::move(second);
  REQUIRE(distance(output_of(third, input, {.mode = Mode::training}).values<double>(),
                   before.values<double>()) == 0.0);
  REQUIRE(testing::gradient_error(third, input) < 1e-8);
}

TEST_CASE("the configuration tells options apart") {
  const std::string plain = Conv2D({.filters = 2}).configuration();
  for (const Conv2DOptions& other :
       std::initializer_list<Conv2DOptions>{{.filters = 3},
                                            {.filters = 2, .kernel_size = {1, 2}},
                                            {.filters = 2, .strides = {2, 1}},
                                            {.filters = 2, .padding = Padding::same},
                                            {.filters = 2, .data_format = DataFormat::nchw},
                                            {.filters = 2, .use_bias = false},
                                            {.filters = 2, .kernel_initializer = he_normal()},
                                            {.filters = 2, .bias_initializer = Ones{}},
                                            {.filters = 2, .kernel_regularizer = l2()},
                                            {.filters = 2, .bias_regularizer = l2()},
                                            {.filters = 2, .kernel_constraint = NonNeg{}},
                                            {.filters = 2, .bias_constraint = NonNeg{}},
                                            {.filters = 2, .trainable = false}})
    REQUIRE(Conv2D(other).configuration() != plain);
}

TEST_CASE("impossible convolutions are refused when created") {
  const auto create = [](Conv2DOptions options, const Shape& shape) {
    Conv2D layer(std::move(options));
    layer.create(shape, DType::float32, 0);
  };
  const Shape shape{2, 5, 6, 3};
  REQUIRE_THROWS_WITH(create({.filters = 0}, shape), Catch::Contains("got 0"));
  REQUIRE_THROWS_AS(create({.filters = -1}, shape), ArgumentError);
  REQUIRE_THROWS_AS(create({.filters = 2, .kernel_size = {0, 1}}, shape), ArgumentError);
  REQUIRE_THROWS_AS(create({.filters = 2, .strides = {1, 0}}, shape), ArgumentError);
  REQUIRE_THROWS_AS(create({.filters = 2, .kernel_size = {6, 1}}, shape), ArgumentError);
  REQUIRE_THROWS_AS(create({.filters = 2}, {2, 5, 6}), ArgumentError);
  REQUIRE_THROWS_AS(create({.filters = 2}, {2, 5, 6, 0}), ArgumentError);
  REQUIRE_NOTHROW(create({.filters = 2, .kernel_size = {6, 1}, .padding = Padding::same}, shape));
}

TEST_CASE("a refused convolution can be created for another shape") {
  Conv2D layer({.filters = 2, .kernel_size = {3, 3}});
  REQUIRE_THROWS_AS(layer.create({2, 2, 2, 1}, DType::float32, 0), ArgumentError);
  layer.create({2, 3, 3, 4}, DType::float32, 0);
  REQUIRE(layer.kernel().shape() == Shape{3, 3, 4, 2});
  REQUIRE_THROWS_AS(layer.output_shape({2, 3, 3, 1}), ArgumentError);
}

}  // namespace
}  // namespace lockstep
