// Global average pooling: laws of image layers at several ranks, numbers by hand, precision.

#include "lockstep/layers/global_average_pool.hpp"

#include <utility>
#include <vector>

#include "layers/image_layer_laws.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"

namespace lockstep {
namespace {

using testing::random_tensor;

TEST_CASE("global average pooling obeys the laws of image layers") {
  for (const Shape& shape : {Shape{3, 5, 7, 2}, Shape{3, 4, 2}, Shape{3, 3, 2, 3, 2},
                             Shape{3, 1, 1, 4}, Shape{3, 5, 7, 1}})
    testing::check_image_layer(
        [](DataFormat data_format, DType dtype) {
          return std::make_unique<GlobalAveragePool>(
              GlobalAveragePoolOptions{.data_format = data_format, .dtype = dtype});
        },
        random_tensor(shape, 1));
}

TEST_CASE("global averages by hand") {
  const std::vector<float> images{1, 10, 2, 20, 3, 60,  //
                                  4, 40, 5, 50, 9, 0};
  std::vector<float> means(4);
  GlobalAveragePool last;
  last.create({2, 1, 3, 2}, DType::float32, 0);
  last.forward(view(images, {2, 1, 3, 2}), view(means, {2, 2}), {});
  REQUIRE(means == std::vector<float>{2, 30, 6, 30});

  GlobalAveragePool first({.data_format = DataFormat::nchw});
  first.create({2, 2, 3}, DType::float32, 0);
  first.forward(view(images, {2, 2, 3}), view(means, {2, 2}), {});
  REQUIRE(means[0] == 13.0F / 3.0F);
  REQUIRE(means[1] == 83.0F / 3.0F);
}

TEST_CASE("global averages of float32 are summed in double") {
  const std::vector<float> image{16777216, 1, 1, 2};
  for (const DataFormat data_format : {DataFormat::nhwc, DataFormat::nchw}) {
    const Shape shape = data_format == DataFormat::nhwc ? Shape{1, 2, 2, 1} : Shape{1, 1, 2, 2};
    std::vector<float> mean(1);
    GlobalAveragePool layer({.data_format = data_format});
    layer.create(shape, DType::float32, 0);
    layer.forward(view(image, shape), view(mean, {1, 1}), {});
    REQUIRE(mean[0] == 4194305.0F);
  }
}

TEST_CASE("a moved global average goes on where it was") {
  const Tensor input = random_tensor({2, 4, 4, 2}, 1);
  GlobalAveragePool first;
  first.create(input.shape(), DType::float64, 0);
  GlobalAveragePool second(std::move(first));
  REQUIRE(testing::gradient_error(second, input) < 1e-8);
}

TEST_CASE("inputs without positions or channels are refused") {
  for (const Shape& shape : {Shape{4}, Shape{4, 3}, Shape{4, 0, 3}, Shape{4, 3, 0},
                             Shape{4, 3, 0, 2}, Shape{4, -1, 3}}) {
    GlobalAveragePool layer;
    REQUIRE_THROWS_AS(layer.create(shape, DType::float32, 0), ArgumentError);
    REQUIRE_THROWS_WITH(layer.output_shape(shape), Catch::Contains(to_string(shape)));
  }
  REQUIRE(GlobalAveragePool({.data_format = DataFormat::nchw}).configuration() !=
          GlobalAveragePool().configuration());
}

}  // namespace
}  // namespace lockstep
