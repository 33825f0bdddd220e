#include "support/layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

namespace lockstep::testing {
namespace {

struct OtherTape final : Tape {};

std::vector<Variable*> parameters_of(Layer& layer) {
  std::vector<Variable*> parameters;
  for (Variable* variable : layer.variables())
    if (variable->role() == VariableRole::parameter) parameters.push_back(variable);
  return parameters;
}

bool are_near(const Tensor& a, const Tensor& b, double tolerance) {
  return tolerance == 0.0 ? is_identical(a, b) : distance_of(a, b) <= tolerance;
}

void check_float32(const MakeLayer& make, const Tensor& input, Call call) {
  const auto wide = make(DType::float64);
  const auto narrow = make(DType::float32);
  wide->build(input.shape());
  narrow->build(input.shape());
  randomize_parameters(*wide);
  const auto wide_variables = wide->variables();
  for (std::size_t i = 0; i < wide_variables.size(); ++i)
    narrow->variables()[i]->assign(wide_variables[i]->value());
  const Tensor dy = random_tensor(wide->output_shape(input.shape()), 23);
  const Tensor narrow_input = to_float32(input);

  const auto tape = wide->make_tape();
  const auto narrow_tape = narrow->make_tape();
  call.tape = tape.get();
  const Tensor y = output_of(*wide, input, call);
  const Tensor dx = input_gradient_of(*wide, *tape, dy, input.shape());
  call.tape = narrow_tape.get();
  const Tensor narrow_y = output_of(*narrow, narrow_input, call);
  const Tensor narrow_dx = input_gradient_of(*narrow, *narrow_tape, to_float32(dy), input.shape());
  CHECK(distance(narrow_y.values<float>(), y.values<double>()) < 2e-6);
  CHECK(distance(narrow_dx.values<float>(), dx.values<double>()) < 2e-6);
  const auto gradients = gradients_of(*wide);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    CHECK(distance(gradients_of(*narrow)[i].values<float>(), gradients[i].values<double>()) < 2e-6);
}

Tensor to(DType dtype, const TensorView& tensor) {
  Tensor result(tensor.shape(), dtype);
  convert(tensor, result);
  return result;
}

// What goes in and out has 16 bits; what happens in between is that of float32, bit for bit.
void check_16_bit(const MakeLayer& make, const Tensor& input, DType dtype, Call call) {
  const auto wide = make(DType::float32);
  const auto narrow = make(dtype);
  wide->build(input.shape());
  narrow->build(input.shape());
  randomize_parameters(*wide);
  randomize_parameters(*narrow);
  const Tensor x = to(dtype, input);
  const Tensor wide_x = to(DType::float32, x);
  const Tensor dy = to(dtype, random_tensor(wide->output_shape(input.shape()), 23));

  const auto wide_tape = wide->make_tape();
  const auto narrow_tape = narrow->make_tape();
  call.tape = wide_tape.get();
  const Tensor wide_y = output_of(*wide, wide_x, call);
  const Tensor wide_dx =
      input_gradient_of(*wide, *wide_tape, to(DType::float32, dy), input.shape());
  call.tape = narrow_tape.get();
  CHECK(is_identical(output_of(*narrow, x, call), to(dtype, wide_y)));
  CHECK(is_identical(input_gradient_of(*narrow, *narrow_tape, dy, input.shape()),
                     to(dtype, wide_dx)));
  const auto check_gradients = [&] {
    for (std::size_t i = 0; i < gradients_of(*wide).size(); ++i)
      CHECK(is_identical(gradients_of(*narrow)[i], gradients_of(*wide)[i]));
  };
  check_gradients();
  narrow->backward(*narrow_tape, dy, {});
  check_gradients();
}

void check_gradient_modes(Layer& layer, const Tensor& input, const Call& call) {
  const Tensor dy = random_tensor(layer.output_shape(input.shape()), 29);
  (void)output_of(layer, input, call);
  const Tensor dx = input_gradient_of(layer, *call.tape, dy, input.shape());
  const std::vector<Tensor> once = gradients_of(layer);
  const auto check_once = [&] {
    for (std::size_t i = 0; i < once.size(); ++i)
      CHECK(is_identical(gradients_of(layer)[i], once[i]));
  };
  CHECK(is_identical(input_gradient_of(layer, *call.tape, dy, input.shape()), dx));
  check_once();

  for (const bool has_input_gradient : {true, false}) {
    Tensor filled = input;  // an input's gradient is never added to
    layer.backward(*call.tape, dy,
                   has_input_gradient ? MutableTensorView(filled) : MutableTensorView(),
                   Gradients::accumulate);
    CHECK(is_identical(filled, has_input_gradient ? dx : input));
    for (std::size_t i = 0; i < once.size(); ++i) {
      Tensor twice = once[i];
      for (double& value : twice.values<double>()) value *= 2.0;
      CHECK(distance_of(gradients_of(layer)[i], twice) < 1e-14);
    }
    layer.backward(*call.tape, dy, {});
    check_once();
  }
}

void check_empty_batch(Layer& layer, const Tensor& input, const Call& call) {
  const Tensor none = rows_of(input, 0, 0);
  const Tensor y = output_of(layer, none, call);
  CHECK(y.num_elements() == 0);
  for (Variable* parameter : parameters_of(layer))
    std::ranges::fill(parameter->grad().values<double>(), 7.0);
  const std::vector<Tensor> before = gradients_of(layer);
  CHECK(
      input_gradient_of(layer, *call.tape, y, none.shape(), Gradients::accumulate).num_elements() ==
      0);
  for (std::size_t i = 0; i < before.size(); ++i)
    CHECK(is_identical(gradients_of(layer)[i], before[i]));
  layer.backward(*call.tape, y, {});
  for (const Tensor& gradient : gradients_of(layer))
    CHECK(is_identical(gradient, Tensor(gradient.shape(), DType::float64)));
}

void check_allocations(Layer& layer, const Tensor& input, const Call& call) {
  Tensor y(layer.output_shape(input.shape()), input.dtype());
  const Tensor dy = to(input.dtype(), random_tensor(y.shape(), 37));
  Tensor dx(input.shape(), input.dtype());
  const auto step = [&] {
    layer.forward(input, y, call);
    layer.backward(*call.tape, dy, dx);
  };
  step();
  const std::int64_t before = num_allocations();
  step();
  CHECK(num_allocations() == before);
}

// Tensors in whose place a float64 one of this shape belongs.
std::vector<Tensor> misfits_of(const Shape& shape) {
  return {Tensor(shape.with(0, shape[0] - 1), DType::float64),
          Tensor(shape.with(0, shape[0] + 1), DType::float64), Tensor(shape, DType::float32)};
}

void check_refusals(Layer& layer, const Tensor& input, const Call& call) {
  const Shape shape = input.shape();
  const Shape output_shape = layer.output_shape(shape);
  Tensor y(output_shape, DType::float64);
  const std::vector<Tensor> misfits = misfits_of(output_shape);
  Tensor other(shape.with(shape.rank() - 1, shape[shape.rank() - 1] + 1), DType::float64);
  for (Tensor misfit : misfits) CHECK_THROWS_AS(layer.forward(input, misfit, call), ArgumentError);
  CHECK_THROWS_AS(layer.forward(other, y, call), ArgumentError);
  CHECK_THROWS_AS(layer.forward(to_float32(input), y, call), ArgumentError);

  const auto unused = layer.make_tape();
  CHECK_THROWS_AS(layer.backward(*unused, y, {}), StateError);
  OtherTape foreign;
  CHECK_THROWS_AS(layer.backward(foreign, y, {}), StateError);
  Call misdirected = call;
  misdirected.tape = &foreign;
  for (const Mode mode : {Mode::training, Mode::inference}) {
    misdirected.mode = mode;
    CHECK_THROWS_AS(layer.forward(input, y, misdirected), StateError);
  }
  CHECK(is_identical(y, Tensor(output_shape, DType::float64)));  // nothing was written

  layer.forward(input, y, call);
  for (const Tensor& misfit : misfits)
    CHECK_THROWS_AS(layer.backward(*call.tape, misfit, {}), ArgumentError);
  CHECK_THROWS_AS(layer.backward(*call.tape, y, other), ArgumentError);
  for (Tensor misfit : misfits_of(shape))
    CHECK_THROWS_AS(layer.backward(*call.tape, y, misfit), ArgumentError);
  Tensor dx(shape, DType::float64);
  CHECK_NOTHROW(layer.backward(*call.tape, y, dx));
}

}  // namespace

Tensor output_of(Layer& layer, const Tensor& input, const Call& call) {
  Tensor output(layer.output_shape(input.shape()), input.dtype());
  layer.forward(input, output, call);
  return output;
}

Tensor input_gradient_of(Layer& layer, Tape& tape, const Tensor& output_gradient,
                         const Shape& shape, Gradients gradients) {
  Tensor result(shape, output_gradient.dtype());
  layer.backward(tape, output_gradient, result, gradients);
  return result;
}

std::vector<Tensor> gradients_of(Layer& layer) {
  std::vector<Tensor> result;
  for (const Variable* parameter : parameters_of(layer))
    result.push_back(Tensor::copy_of(parameter->grad()));
  return result;
}

void randomize_parameters(Layer& layer) {
  std::uint64_t seed = 41;
  for (Variable* parameter : parameters_of(layer))
    parameter->assign(random_tensor(parameter->shape(), seed++));
}

Tensor to_float32(const Tensor& tensor) { return to(DType::float32, tensor); }

Tensor rows_of(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  return Tensor::copy_of(TensorView(tensor).rows(first, count));
}

double distance_of(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() ? distance(a.values<double>(), b.values<double>()) : INFINITY;
}

bool is_identical(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const auto bytes = static_cast<std::size_t>(a.num_elements()) * size_of(a.dtype());
  return bytes == 0 || std::memcmp(a.data(), b.data(), bytes) == 0;
}

void check_layer(const MakeLayer& make, const Tensor& input, const Call& call) {
  for (const DType dtype : {DType::float16, DType::bfloat16})
    check_16_bit(make, input, dtype, call);
  check_calls(make, input, call);
}

void check_calls(const MakeLayer& make, const Tensor& input, const Call& call) {
  check_float32(make, input, call);
  const auto layer = make(DType::float64);
  const auto tape = layer->make_tape();
  Call taped = call;
  taped.tape = tape.get();
  Tensor y(layer->output_shape(input.shape()), DType::float64);
  CHECK_THROWS_AS(layer->forward(input, y, taped), StateError);
  layer->build(input.shape().with(0, 0));  // the number of samples is free
  randomize_parameters(*layer);
  check_gradient_modes(*layer, input, taped);
  check_empty_batch(*layer, input, taped);
  check_gradient_modes(*layer, rows_of(input, 0, 1), taped);
  check_gradient_modes(*layer, input, taped);
  check_allocations(*layer, input, taped);
  const auto narrow = make(DType::float32);
  const auto narrow_tape = narrow->make_tape();
  narrow->build(input.shape());
  taped.tape = narrow_tape.get();
  check_allocations(*narrow, to_float32(input), taped);
  taped.tape = tape.get();
  check_refusals(*layer, input, taped);
}

void check_cut_law(Layer& layer, const Tensor& input, double tolerance, const Call& call) {
  const std::int64_t total = input.shape()[0];
  std::vector<std::int64_t> samples(static_cast<std::size_t>(total));
  std::iota(samples.begin(), samples.end(), 0);
  const Tensor dy = random_tensor(layer.output_shape(input.shape()), 31);
  const auto tape = layer.make_tape();
  Call part = call;
  part.tape = tape.get();
  const Tensor y = output_of(layer, input, part);
  const Tensor dx = input_gradient_of(layer, *tape, dy, input.shape());
  const std::vector<Tensor> gradients = gradients_of(layer);

  for (const int num_ranks : {1, 2, 3, 4})
    for (const auto& cut : cuts_of(total, num_ranks)) {
      for (int rank = 0; rank < num_ranks; ++rank) {
        const std::int64_t first = first_of(cut, rank);
        const std::int64_t count = cut[static_cast<std::size_t>(rank)];
        part.samples = std::span(samples).subspan(static_cast<std::size_t>(first),
                                                  static_cast<std::size_t>(count));
        const Tensor x = rows_of(input, first, count);
        CHECK(are_near(output_of(layer, x, part), rows_of(y, first, count), tolerance));
        CHECK(are_near(input_gradient_of(layer, *tape, rows_of(dy, first, count), x.shape(),
                                         rank == 0 ? Gradients::overwrite : Gradients::accumulate),
                       rows_of(dx, first, count), tolerance));
      }
      for (std::size_t i = 0; i < gradients.size(); ++i)
        CHECK(are_near(gradients_of(layer)[i], gradients[i], tolerance));
    }
}

}  // namespace lockstep::testing
