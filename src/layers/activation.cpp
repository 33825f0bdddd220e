#include "lockstep/layers/activation.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <utility>

#include "kernels/activation.hpp"
#include "layers/compute.hpp"
#include "layers/input_tape.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

Activation::Activation(ActivationOptions options)
    : Layer({.type = "Activation",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape Activation::output_shape(const Shape& input_shape) const { return input_shape; }

std::unique_ptr<Tape> Activation::make_tape() const {
  return std::make_unique<InputTape<Activation>>();
}

void Activation::do_create(const Shape&) {
  if (!(options_.negative_slope >= 0.0) || !std::isfinite(options_.negative_slope))
    throw ArgumentError(fmt::format("layer '{}' needs a finite negative_slope >= 0, got {}", name(),
                                    options_.negative_slope));
}

void Activation::forward(const TensorView& input, const MutableTensorView& output,
                         const Call& call) {
  check_call(input, output);
  record_input(*this, call, input);
  compute(input, output, [&]<class T>(const T* x, T* y) {
    activate(options_.function, options_.negative_slope, x, y, input.num_elements());
  });
}

void Activation::backward(Tape& tape, const TensorView& output_gradient,
                          const MutableTensorView& input_gradient, Gradients) {
  const TensorView& input = recorded_input(*this, tape);
  check_gradients(input.shape(), output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  compute(input, output_gradient, input_gradient, [&]<class T>(const T* x, const T* dy, T* dx) {
    activation_gradient(options_.function, options_.negative_slope, x, dy, dx,
                        input.num_elements());
  });
}

}  // namespace lockstep
