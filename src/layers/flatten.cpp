#include "lockstep/layers/flatten.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "layers/copy.hpp"
#include "layers/input_tape.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

Flatten::Flatten(FlattenOptions options)
    : Layer({.type = "Flatten",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape Flatten::output_shape(const Shape& input_shape) const {
  if (input_shape.rank() == 0 || !input_shape.without_first().is_valid())
    throw ArgumentError(
        fmt::format("layer '{}' needs inputs [samples, ...] of known extents, got {}", name(),
                    to_string(input_shape)));
  return {input_shape[0], input_shape.without_first().num_elements()};
}

std::unique_ptr<Tape> Flatten::make_tape() const { return std::make_unique<InputTape<Flatten>>(); }

void Flatten::do_create(const Shape& input_shape) { (void)output_shape(input_shape); }

void Flatten::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  record_input(*this, call, input);
  copy_elements(input, output);
}

void Flatten::backward(Tape& tape, const TensorView& output_gradient,
                       const MutableTensorView& input_gradient, Gradients) {
  check_gradients(recorded_input(*this, tape).shape(), output_gradient, input_gradient);
  if (!input_gradient.is_null()) copy_elements(output_gradient, input_gradient);
}

}  // namespace lockstep
