#include "layers/image_layer_laws.hpp"

#include <vector>

#include "lockstep/base/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"

namespace lockstep::testing {
namespace {

constexpr std::uint64_t seed = 3;
constexpr double rounding = 1e-13;  // sums of float64 in another order

class OtherTape final : public Tape {};

double distance_of(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() ? distance(a.values<double>(), b.values<double>()) : INFINITY;
}

// A layer with variables that are none of them zero, so that none can be forgotten.
std::unique_ptr<Layer> created(const MakeImageLayer& make, DataFormat data_format,
                               const Shape& shape) {
  auto layer = make(data_format);
  layer->create(shape, DType::float64, seed);
  for (Variable* variable : layer->variables())
    variable->assign(random_tensor(variable->shape(), seed));
  return layer;
}

std::vector<Tensor> gradients_of(Layer& layer) {
  std::vector<Tensor> result;
  for (Variable* variable : layer.variables()) result.push_back(Tensor::copy_of(variable->grad()));
  return result;
}

// What a training call and its backward pass give.
struct Results {
  Tensor output;
  Tensor input_gradient;
  std::vector<Tensor> gradients;
};

Results results_of(Layer& layer, const Tensor& input, const Tensor& output_gradient) {
  const auto tape = layer.make_tape();
  Results results{.output = training_output_of(layer, input, tape.get()),
                  .input_gradient = Tensor(input.shape(), DType::float64),
                  .gradients = {}};
  layer.backward(*tape, output_gradient, results.input_gradient);
  results.gradients = gradients_of(layer);
  return results;
}

void check_formats_agree(const MakeImageLayer& make, const Tensor& input) {
  const auto nhwc = created(make, DataFormat::nhwc, input.shape());
  const Tensor transposed = to_nchw(input);
  const auto nchw = created(make, DataFormat::nchw, transposed.shape());
  const Tensor weights = random_tensor(nhwc->output_shape(input.shape()), 5);
  const Results last = results_of(*nhwc, input, weights);
  const Results first = results_of(*nchw, transposed, to_nchw(weights));
  REQUIRE(distance_of(first.output, to_nchw(last.output)) < rounding);
  REQUIRE(distance_of(first.input_gradient, to_nchw(last.input_gradient)) < rounding);
  REQUIRE(first.gradients.size() == last.gradients.size());
  for (std::size_t i = 0; i < last.gradients.size(); ++i)
    REQUIRE(distance_of(first.gradients[i], last.gradients[i]) < rounding);
}

// Parts of the batch one after the other, gradients accumulated, the first part empty.
void check_cut(Layer& layer, const Tensor& input) {
  const Tensor weights = random_tensor(layer.output_shape(input.shape()), 5);
  const Results whole = results_of(layer, input, weights);
  Tensor output(weights.shape(), DType::float64);
  Tensor input_gradient(input.shape(), DType::float64);
  const auto tape = layer.make_tape();
  std::int64_t first = 0;
  const std::int64_t num_samples = input.shape()[0];
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{1}, num_samples - 1}) {
    layer.forward(TensorView(input).rows(first, count),
                  MutableTensorView(output).rows(first, count),
                  {.mode = Mode::training, .tape = tape.get()});
    layer.backward(*tape, TensorView(weights).rows(first, count),
                   MutableTensorView(input_gradient).rows(first, count),
                   first == 0 && count == 0 ? Gradients::overwrite : Gradients::accumulate);
    first += count;
  }
  REQUIRE(first == num_samples);
  REQUIRE(distance_of(output, whole.output) < rounding);
  REQUIRE(distance_of(input_gradient, whole.input_gradient) < rounding);
  const std::vector<Tensor> gradients = gradients_of(layer);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    REQUIRE(distance_of(gradients[i], whole.gradients[i]) < rounding);
}

void check_empty_batch(Layer& layer, const Shape& shape) {
  const Tensor input(shape.with(0, 0), DType::float64);
  const Tensor output_gradient(layer.output_shape(input.shape()), DType::float64);
  REQUIRE(output_gradient.shape()[0] == 0);
  for (Variable* variable : layer.variables())
    for (double& value : variable->grad().values<double>()) value = 7.0;
  const Results results = results_of(layer, input, output_gradient);
  REQUIRE(results.output.num_elements() == 0);
  for (const Tensor& gradient : results.gradients)
    for (const double value : gradient.values<double>()) REQUIRE(value == 0.0);
}

void check_gradient_modes(Layer& layer, const Tensor& input) {
  const Tensor weights = random_tensor(layer.output_shape(input.shape()), 5);
  const Results once = results_of(layer, input, weights);
  const auto tape = layer.make_tape();
  static_cast<void>(training_output_of(layer, input, tape.get()));

  layer.backward(*tape, weights, {});
  std::vector<Tensor> gradients = gradients_of(layer);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    REQUIRE(distance_of(gradients[i], once.gradients[i]) == 0.0);

  Tensor input_gradient = input;  // never added to
  layer.backward(*tape, weights, input_gradient, Gradients::accumulate);
  REQUIRE(distance_of(input_gradient, once.input_gradient) == 0.0);
  gradients = gradients_of(layer);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tensor twice = once.gradients[i];
    for (double& value : twice.values<double>()) value *= 2.0;
    REQUIRE(distance_of(gradients[i], twice) < rounding);
  }
}

void check_allocations(Layer& layer, const Tensor& input) {
  const auto tape = layer.make_tape();
  Tensor output = training_output_of(layer, input);
  Tensor input_gradient(input.shape(), DType::float64);
  const auto step = [&] {
    layer.forward(input, output, {.mode = Mode::training, .tape = tape.get()});
    layer.backward(*tape, output, input_gradient);
  };
  step();
  const std::int64_t before = num_allocations();
  step();
  REQUIRE(num_allocations() == before);
}

void check_refusals(const MakeImageLayer& make, const Tensor& input) {
  const auto layer = created(make, DataFormat::nhwc, input.shape());
  const auto tape = layer->make_tape();
  Tensor output(layer->output_shape(input.shape()), DType::float64);
  Tensor gradient(input.shape(), DType::float64);
  Tensor too_small(output.shape().with(0, output.shape()[0] - 1), DType::float64);
  Tensor single(input.shape(), DType::float32);
  OtherTape other;
  REQUIRE_THROWS_AS(layer->backward(*tape, output, gradient), StateError);
  REQUIRE_THROWS_AS(layer->backward(other, output, gradient), StateError);
  REQUIRE_THROWS_AS(layer->forward(input, output, {.tape = &other}), StateError);
  REQUIRE_THROWS_AS(layer->forward(input, too_small, {}), ArgumentError);
  REQUIRE_THROWS_AS(layer->forward(single, output, {}), ArgumentError);
  for (const double value : output.values<double>()) REQUIRE(value == 0.0);

  layer->forward(input, output, {.tape = tape.get()});
  REQUIRE_THROWS_AS(layer->backward(*tape, too_small, gradient), ArgumentError);
  REQUIRE_THROWS_AS(layer->backward(*tape, output, single), ArgumentError);
  REQUIRE_NOTHROW(layer->backward(*tape, output, gradient));
  REQUIRE_THROWS_AS(make(DataFormat::nhwc)->forward(input, output, {}), StateError);
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

Tensor training_output_of(Layer& layer, const Tensor& input, Tape* tape) {
  Tensor output(layer.output_shape(input.shape()), input.dtype());
  layer.forward(input, output, {.mode = Mode::training, .tape = tape});
  return output;
}

void check_image_layer(const MakeImageLayer& make, const Tensor& input) {
  for (const DataFormat data_format : {DataFormat::nhwc, DataFormat::nchw}) {
    const Tensor images = data_format == DataFormat::nhwc ? input : to_nchw(input);
    const auto layer = created(make, data_format, images.shape());
    INFO(layer->type() << ": " << layer->configuration() << " on " << to_string(images.shape()));
    REQUIRE(gradient_error(*layer, images) < 1e-8);
    check_cut(*layer, images);
    check_empty_batch(*layer, images.shape());
    check_gradient_modes(*layer, images);
    check_allocations(*layer, images);
  }
  check_formats_agree(make, input);
  check_refusals(make, input);
}

}  // namespace lockstep::testing
