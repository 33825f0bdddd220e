// Average pooling: laws of image layers, edges and precision.

#include "lockstep/layers/average_pool2d.hpp"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "layers/image_layer_laws.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using testing::output_of;
using testing::random_tensor;

std::vector<float> average(const Pool2DOptions& options, const std::vector<float>& image,
                           const Shape& shape) {
  AveragePool2D layer(options);
  layer.create(shape, DType::float32, 0);
  const Tensor output =
      output_of(layer, Tensor::copy_of(view(image, shape)), {.mode = Mode::training});
  return {output.values<float>().begin(), output.values<float>().end()};
}

TEST_CASE("average pooling obeys the laws of image layers") {
  testing::check_pooling_layer<AveragePool2D>(random_tensor({3, 5, 7, 2}, 1));
}

TEST_CASE("a constant image stays constant, up to its edges") {
  for (const Size2D& pool_size : {Size2D{2, 2}, Size2D{3, 3}, Size2D{5, 4}})
    for (const float value :
         average({.pool_size = pool_size, .strides = Size2D{1, 1}, .padding = Padding::same},
                 std::vector<float>(35, 3.0F), {1, 5, 7, 1}))
      REQUIRE(value == 3.0F);
}

TEST_CASE("averages by hand") {
  const std::vector<float> image{1, 2, 3,  //
                                 4, 5, 6,  //
                                 7, 8, 9};
  REQUIRE(average({.strides = Size2D{1, 1}}, image, {1, 3, 3, 1}) ==
          std::vector<float>{3, 4, 6, 7});
  REQUIRE(average({.padding = Padding::same}, image, {1, 3, 3, 1}) ==
          std::vector<float>{3, 4.5F, 7.5F, 9});
}

TEST_CASE("averages of float32 are summed in double") {
  REQUIRE(average({.pool_size = {1, 4}}, {3e38F, 3e38F, -3e38F, 1e38F}, {1, 1, 4, 1}) ==
          std::vector<float>{1e38F});
  REQUIRE(average({.pool_size = {1, 4}}, {16777216, 1, 1, 2}, {1, 1, 4, 1}) ==
          std::vector<float>{4194305});
}

TEST_CASE("NaN reaches the averages it is part of and no other") {
  const std::vector<float> means = average(
      {.pool_size = {1, 2}}, {1, std::numeric_limits<float>::quiet_NaN(), 3, 4}, {1, 1, 4, 1});
  REQUIRE(std::isnan(means[0]));
  REQUIRE(means[1] == 3.5F);
}

TEST_CASE("a moved average pooling layer goes on where it was") {
  const Tensor input = random_tensor({2, 4, 4, 2}, 1);
  AveragePool2D first;
  first.create(input.shape(), DType::float64, 0);
  AveragePool2D second(std::move(first));
  REQUIRE(testing::gradient_error(second, input) < 1e-8);
}

TEST_CASE("the tape of maximum pooling is not one of average pooling") {
  const Tensor input = random_tensor({2, 4, 4, 2}, 1);
  MaxPool2D maximum;
  maximum.create(input.shape(), DType::float64, 0);
  AveragePool2D layer;
  layer.create(input.shape(), DType::float64, 0);
  const auto tape = maximum.make_tape();
  const Tensor output = output_of(maximum, input, {.mode = Mode::training, .tape = tape.get()});
  REQUIRE_THROWS_AS(layer.backward(*tape, output, {}), StateError);
  REQUIRE_THROWS_AS(output_of(layer, input, {.mode = Mode::training, .tape = tape.get()}),
                    StateError);
}

TEST_CASE("impossible average pooling is refused when created") {
  AveragePool2D layer({.pool_size = {5, 2}});
  REQUIRE_THROWS_AS(layer.create({2, 4, 4, 1}, DType::float32, 0), ArgumentError);
  REQUIRE_THROWS_AS(layer.create({4, 4}, DType::float32, 0), ArgumentError);
  REQUIRE_NOTHROW(layer.create({2, 5, 4, 1}, DType::float32, 0));
}

}  // namespace
}  // namespace lockstep
