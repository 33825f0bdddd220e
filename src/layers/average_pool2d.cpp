#include "lockstep/layers/average_pool2d.hpp"

#include <utility>

#include "layers/compute.hpp"
#include "layers/input_tape.hpp"
#include "layers/pool2d.hpp"

namespace lockstep {

AveragePool2D::AveragePool2D(Pool2DOptions options) : Pool2D("AveragePool2D", std::move(options)) {}

std::unique_ptr<Tape> AveragePool2D::make_tape() const {
  return std::make_unique<InputTape<AveragePool2D>>();
}

void AveragePool2D::forward(const TensorView& input, const MutableTensorView& output,
                            const Call& call) {
  check_call(input, output);
  record_input(*this, call, input);
  compute(input, output, [&]<class T>(const T* x, T* y) {
    average_pool(pooling_of(options(), input.shape()), x, y);
  });
}

void AveragePool2D::backward(Tape& tape, const TensorView& output_gradient,
                             const MutableTensorView& input_gradient, Gradients) {
  const TensorView& input = recorded_input(*this, tape);
  check_gradients(input.shape(), output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  compute(output_gradient, input_gradient, [&]<class T>(const T* dy, T* dx) {
    average_pool_gradient(pooling_of(options(), input.shape()), dy, dx);
  });
}

}  // namespace lockstep
