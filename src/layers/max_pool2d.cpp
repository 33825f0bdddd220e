#include "lockstep/layers/max_pool2d.hpp"

#include <utility>

#include "layers/compute.hpp"
#include "layers/input_tape.hpp"
#include "layers/pool2d.hpp"

namespace lockstep {

MaxPool2D::MaxPool2D(Pool2DOptions options) : Pool2D("MaxPool2D", std::move(options)) {}

std::unique_ptr<Tape> MaxPool2D::make_tape() const {
  return std::make_unique<InputTape<MaxPool2D>>();
}

void MaxPool2D::forward(const TensorView& input, const MutableTensorView& output,
                        const Call& call) {
  check_call(input, output);
  record_input(*this, call, input);
  compute(input, output,
          [&]<class T>(const T* x, T* y) { max_pool(pooling_of(options(), input.shape()), x, y); });
}

void MaxPool2D::backward(Tape& tape, const TensorView& output_gradient,
                         const MutableTensorView& input_gradient, Gradients) {
  const TensorView& input = recorded_input(*this, tape);
  check_gradients(input.shape(), output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  compute(input, output_gradient, input_gradient, [&]<class T>(const T* x, const T* dy, T* dx) {
    max_pool_gradient(pooling_of(options(), input.shape()), x, dy, dx);
  });
}

}  // namespace lockstep
