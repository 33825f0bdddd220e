#include "layers/image_layer_laws.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep::testing {
namespace {

constexpr double rounding = 1e-13;  // sums of float64 in another order

std::unique_ptr<Layer> built(const MakeImageLayer& make, DataFormat data_format,
                             const Shape& shape) {
  auto layer = make(data_format, DType::float64);
  layer->build(shape);
  randomize_parameters(*layer);
  return layer;
}

void check_formats_agree(const MakeImageLayer& make, const Tensor& nhwc) {
  const Tensor nchw = to_nchw(nhwc);
  const auto last = built(make, DataFormat::nhwc, nhwc.shape());
  const auto first = built(make, DataFormat::nchw, nchw.shape());
  const Tensor dy = random_tensor(last->output_shape(nhwc.shape()), 5);
  const auto last_tape = last->make_tape();
  const auto first_tape = first->make_tape();
  const Tensor y = output_of(*last, nhwc, {.mode = Mode::training, .tape = last_tape.get()});
  CHECK(distance_of(output_of(*first, nchw, {.mode = Mode::training, .tape = first_tape.get()}),
                    to_nchw(y)) < rounding);
  const Tensor dx = input_gradient_of(*last, *last_tape, dy, nhwc.shape());
  CHECK(distance_of(input_gradient_of(*first, *first_tape, to_nchw(dy), nchw.shape()),
                    to_nchw(dx)) < rounding);
  const std::vector<Tensor> gradients = gradients_of(*last);
  REQUIRE(gradients_of(*first).size() == gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i)
    CHECK(distance_of(gradients_of(*first)[i], gradients[i]) < rounding);
}

}  // namespace

Tensor to_nchw(const Tensor& nhwc) {
  const int rank = nhwc.shape().rank();
  const std::int64_t num_samples = nhwc.shape()[0];
  const std::int64_t num_channels = nhwc.shape()[rank - 1];
  Shape shape = nhwc.shape().with(1, num_channels);
  std::int64_t num_positions = 1;
  for (int axis = 1; axis < rank - 1; ++axis) {
    shape = shape.with(axis + 1, nhwc.shape()[axis]);
    num_positions *= nhwc.shape()[axis];
  }
  Tensor result(shape, DType::float64);
  double* target = result.values<double>().data();
  const double* const source = nhwc.values<double>().data();
  for (std::int64_t n = 0; n < num_samples; ++n)
    for (std::int64_t c = 0; c < num_channels; ++c)
      for (std::int64_t p = 0; p < num_positions; ++p)
        *target++ = source[(n * num_positions + p) * num_channels + c];
  return result;
}

Tensor distinct_tensor(const Shape& shape) {
  constexpr std::uint64_t step = 7919;  // a prime: i * step runs through all remainders
  Tensor result(shape, DType::float64);
  const auto count = static_cast<std::uint64_t>(result.num_elements());
  REQUIRE(count < 1000);
  std::uint64_t i = 0;
  for (double& value : result.values<double>())
    value = 2.0 * static_cast<double>(i++ * step % count) / static_cast<double>(count) - 1.0;
  return result;
}

void check_image_layer(const MakeImageLayer& make, const Tensor& input) {
  for (const DataFormat data_format : {DataFormat::nhwc, DataFormat::nchw}) {
    const Tensor images = data_format == DataFormat::nhwc ? input : to_nchw(input);
    const auto layer = built(make, data_format, images.shape());
    INFO(layer->type() << ": " << layer->configuration() << " on " << to_string(images.shape()));
    CHECK(gradient_error(*layer, images) < 1e-8);
    check_cut_law(*layer, images, rounding);
    check_layer([&](DType dtype) { return make(data_format, dtype); }, images);
  }
  check_formats_agree(make, input);
}

}  // namespace lockstep::testing
