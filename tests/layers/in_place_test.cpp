// Layers that work in place: the same bits as with memory of their own, forward and backward.

#include <memory>
#include <string>
#include <vector>

#include "base/convert.hpp"
#include "layers/every_layer.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

Tensor random_as(DType dtype, const Shape& shape, std::uint64_t seed) {
  Tensor result(shape, dtype);
  convert(random_tensor(shape, seed), result);
  return result;
}

// The output in inference mode, over the input or not.
Tensor inferred(Layer& layer, const Tensor& x, bool is_in_place) {
  Tensor input = x;
  Tensor other(layer.output_shape(x.shape()), x.dtype());
  const MutableTensorView output =
      is_in_place ? MutableTensorView(input).reshaped(other.shape()) : MutableTensorView(other);
  layer.forward(input, output, {.mode = Mode::inference});
  return Tensor::copy_of(output);
}

// The input's gradient of a call in this mode, over the output's or not.
Tensor differentiated(Layer& layer, const Tensor& x, const Tensor& dy, Mode mode,
                      bool is_in_place) {
  const auto tape = layer.make_tape();
  static_cast<void>(output_of(
      layer, x, {.mode = mode, .tape = tape.get(), .commit = Commit::by_caller, .step = 3}));
  Tensor gradient = dy;
  Tensor other(x.shape(), x.dtype());
  const MutableTensorView dx =
      is_in_place ? MutableTensorView(gradient).reshaped(x.shape()) : MutableTensorView(other);
  layer.backward(*tape, gradient, dx);
  return Tensor::copy_of(dx);
}

}  // namespace

TEST_CASE("layers that work in place give the same bits as elsewhere") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16})
    for (const Example& example : every_layer())
      for (const std::int64_t num_samples : {0, 1, 5, 64}) {
        const auto layer = example.make(dtype);
        if (!layer->works_in_place()) continue;
        INFO(example.name << ", " << num_samples << " samples of " << name_of(dtype));
        layer->build(example.sample_shape.prepended(num_samples));
        randomize_parameters(*layer);
        const Tensor x = random_as(dtype, example.sample_shape.prepended(num_samples), 1);
        const Tensor dy = random_as(dtype, layer->output_shape(x.shape()), 2);
        CHECK(is_identical(inferred(*layer, x, true), inferred(*layer, x, false)));
        for (const Mode mode : {Mode::training, Mode::inference}) {
          const Tensor dx = differentiated(*layer, x, dy, mode, true);
          const std::vector<Tensor> gradients = gradients_of(*layer);
          CHECK(is_identical(dx, differentiated(*layer, x, dy, mode, false)));
          for (std::size_t i = 0; i < gradients.size(); ++i)
            CHECK(is_identical(gradients_of(*layer)[i], gradients[i]));
        }
      }
}

TEST_CASE("layers that work in place do so where outputs go past the caches") {
  const Shape shape{512, 64, 128};  // 16 MiB
  const Tensor x = to_float32(random_tensor(shape, 1));
  const Tensor dy = to_float32(random_tensor(shape, 2));
  for (const int axis : {1, 2}) {
    BatchNormalization layer({.axis = axis, .activation = ActivationFunction::relu});
    layer.build(shape);
    CHECK(is_identical(inferred(layer, x, true), inferred(layer, x, false)));
    CHECK(is_identical(differentiated(layer, x, dy, Mode::training, true),
                       differentiated(layer, x, dy, Mode::training, false)));
  }
}

TEST_CASE("elementwise layers work in place, the others do not") {
  for (const Example& example : every_layer()) {
    INFO(example.name);
    CHECK(example.make(DType::float32)->works_in_place() == example.works_in_place);
  }
}
