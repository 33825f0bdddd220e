#include "lockstep/layers/softmax.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "kernels/softmax.hpp"
#include "layers/compute.hpp"
#include "layers/input_tape.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

struct SoftmaxTape final : InputTape<Softmax> {
  Tensor output;  // not rounded to 16 bits
};

SoftmaxTape& own_tape(const Softmax& layer, Tape& tape) {
  return static_cast<SoftmaxTape&>(input_tape_of(layer, tape));
}

int axis_of(int axis, const Shape& shape) {
  const int from_front = axis < 0 ? axis + shape.rank() : axis;
  if (from_front < 1 || from_front >= shape.rank())
    throw ArgumentError(
        fmt::format("softmax needs an axis of the input besides the batch axis 0, got axis {} for "
                    "the shape {}",
                    axis, to_string(shape)));
  return from_front;
}

AxisExtents extents_around(int given_axis, const Shape& shape) {
  const int axis = axis_of(given_axis, shape);
  AxisExtents extents{1, shape[axis], 1};
  for (int before = 0; before < axis; ++before) extents.outer *= shape[before];
  for (int after = axis + 1; after < shape.rank(); ++after) extents.inner *= shape[after];
  return extents;
}

}  // namespace

Softmax::Softmax(SoftmaxOptions options)
    : Layer({.type = "Softmax",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape Softmax::output_shape(const Shape& input_shape) const {
  (void)axis_of(options_.axis, input_shape);
  return input_shape;
}

std::unique_ptr<Tape> Softmax::make_tape() const { return std::make_unique<SoftmaxTape>(); }

void Softmax::do_create(const Shape& input_shape) { (void)output_shape(input_shape); }

void Softmax::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  Tensor* const recorded = call.tape == nullptr ? nullptr : &own_tape(*this, *call.tape).output;
  if (recorded != nullptr) recorded->resize(output.shape(), parameter_dtype_of(dtype()));
  compute(input, output, [&]<class T>(const T* x, T* y) {
    softmax(extents_around(options_.axis, input.shape()), x, y);
    if (recorded != nullptr) std::copy_n(y, input.num_elements(), recorded->values<T>().data());
  });
  record_input(*this, call, input);
}

void Softmax::backward(Tape& tape, const TensorView& output_gradient,
                       const MutableTensorView& input_gradient, Gradients) {
  const Shape& shape = recorded_input(*this, tape).shape();
  check_gradients(shape, output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  compute(own_tape(*this, tape).output, output_gradient, input_gradient,
          [&]<class T>(const T* y, const T* dy, T* dx) {
            softmax_gradient(extents_around(options_.axis, shape), y, dy, dx);
          });
}

}  // namespace lockstep
