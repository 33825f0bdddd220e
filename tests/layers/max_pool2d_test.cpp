// Maximum pooling: laws of image layers, ties, NaN and edges.

#include "lockstep/layers/max_pool2d.hpp"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "layers/image_layer_laws.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using testing::distinct_tensor;
using testing::output_of;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// Output and input gradient of one image of one channel, for gradients 1, 10, 100, ...
struct Results {
  std::vector<float> output;
  std::vector<float> input_gradient;
};

Results results_of(const Pool2DOptions& options, const std::vector<float>& image,
                   const Shape& shape) {
  MaxPool2D layer(options);
  layer.create(shape, DType::float32, 0);
  const auto tape = layer.make_tape();
  const auto count = static_cast<std::size_t>(layer.output_shape(shape).num_elements());
  Results results{std::vector<float>(count), std::vector<float>(image.size(), 7.0F)};
  layer.forward(view(image, shape), view(results.output, layer.output_shape(shape)),
                {.tape = tape.get()});
  std::vector<float> gradients(count, 1.0F);
  for (std::size_t i = 1; i < count; ++i) gradients[i] = 10.0F * gradients[i - 1];
  layer.backward(*tape, view(gradients, layer.output_shape(shape)),
                 view(results.input_gradient, shape));
  return results;
}

TEST_CASE("maximum pooling obeys the laws of image layers") {
  testing::check_pooling_layer<MaxPool2D>(distinct_tensor({3, 5, 7, 2}));
}

TEST_CASE("strides are the pool size unless given") {
  REQUIRE(MaxPool2D().output_shape({2, 7, 8, 3}) == Shape{2, 3, 4, 3});
  REQUIRE(MaxPool2D({.padding = Padding::same}).output_shape({2, 7, 8, 3}) == Shape{2, 4, 4, 3});
  REQUIRE(MaxPool2D({.pool_size = {3, 1}}).output_shape({2, 7, 8, 3}) == Shape{2, 2, 8, 3});
  REQUIRE(MaxPool2D({.strides = Size2D{1, 2}}).output_shape({2, 7, 8, 3}) == Shape{2, 6, 4, 3});
  REQUIRE(MaxPool2D({.data_format = DataFormat::nchw}).output_shape({2, 3, 7, 8}) ==
          Shape{2, 3, 3, 4});
}

TEST_CASE("the first of equal maxima gets the gradient") {
  const Results results = results_of({},
                                     {1, 3, 5, 5,  //
                                      3, 3, 5, 5},
                                     {1, 2, 4, 1});
  REQUIRE(results.output == std::vector<float>{3, 5});
  REQUIRE(results.input_gradient == std::vector<float>{0, 1, 10, 0,  //
                                                       0, 0, 0, 0});
}

TEST_CASE("gradients of overlapping windows add up") {
  const Results results =
      results_of({.pool_size = {1, 2}, .strides = Size2D{1, 1}}, {1, 9, 2, 3}, {1, 1, 4, 1});
  REQUIRE(results.output == std::vector<float>{9, 9, 3});
  REQUIRE(results.input_gradient == std::vector<float>{0, 11, 0, 100});
}

TEST_CASE("NaN wins, the first one first") {
  const Results results = results_of({.pool_size = {1, 3}}, {2, nan, 9, nan, 8, nan}, {1, 1, 6, 1});
  REQUIRE(std::isnan(results.output[0]));
  REQUIRE(std::isnan(results.output[1]));
  REQUIRE(results.input_gradient == std::vector<float>{0, 1, 0, 10, 0, 0});
}

TEST_CASE("what lies outside of the image is never the maximum") {
  const Results results = results_of({.pool_size = {1, 3}, .padding = Padding::same},
                                     {-1, -2, -infinity, -infinity}, {1, 1, 4, 1});
  REQUIRE(results.output == std::vector<float>{-1, -infinity});
  REQUIRE(results.input_gradient == std::vector<float>{1, 0, 10, 0});
}

TEST_CASE("a moved pooling layer goes on where it was") {
  const Tensor input = distinct_tensor({2, 4, 4, 2});
  MaxPool2D first;
  first.create(input.shape(), DType::float64, 0);
  const auto tape = first.make_tape();
  const Tensor output = output_of(first, input, {.mode = Mode::training, .tape = tape.get()});
  MaxPool2D second(std::move(first));
  Tensor input_gradient(input.shape(), DType::float64);
  REQUIRE_NOTHROW(second.backward(*tape, output, input_gradient));
  REQUIRE_NOTHROW(output_of(second, input, {.mode = Mode::training}));
}

TEST_CASE("impossible pooling is refused when created") {
  const auto create = [](Pool2DOptions options, const Shape& shape) {
    MaxPool2D layer(std::move(options));
    layer.create(shape, DType::float32, 0);
  };
  REQUIRE_THROWS_AS(create({}, {2, 4, 4}), ArgumentError);
  REQUIRE_THROWS_AS(create({}, {2, 4, 4, 0}), ArgumentError);
  REQUIRE_THROWS_AS(create({}, {2, 1, 4, 1}), ArgumentError);
  REQUIRE_THROWS_AS(create({.pool_size = {0, 2}}, {2, 4, 4, 1}), ArgumentError);
  REQUIRE_THROWS_AS(create({.strides = Size2D{2, -1}}, {2, 4, 4, 1}), ArgumentError);
  REQUIRE_NOTHROW(create({.padding = Padding::same}, {2, 1, 4, 1}));
}

TEST_CASE("the configuration of pooling tells options apart") {
  const std::string plain = MaxPool2D().configuration();
  for (const Pool2DOptions& other :
       std::initializer_list<Pool2DOptions>{{.pool_size = {2, 3}},
                                            {.strides = Size2D{2, 2}},
                                            {.padding = Padding::same},
                                            {.data_format = DataFormat::nchw}})
    REQUIRE(MaxPool2D(other).configuration() != plain);
}

}  // namespace
}  // namespace lockstep
