// The layer that applies a function to every element.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/kernels/activation_function.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Options of an elementwise function.
struct ActivationOptions {
  ActivationFunction function = ActivationFunction::linear;
  double negative_slope = default_negative_slope;  ///< of leaky_relu, >= 0
  std::optional<DType> dtype = std::nullopt;       ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// output = function(input), element by element, for inputs of any shape. NaN stays NaN.
class LOCKSTEP_EXPORT Activation final : public Layer {
 public:
  explicit Activation(ActivationOptions options = {});

  [[nodiscard]] const ActivationOptions& options() const noexcept { return options_; }

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  [[nodiscard]] bool works_in_place() const noexcept override { return true; }

  /// The output may be the memory of the input when the call has no tape.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// The gradients may be the same memory.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  /// Throws ArgumentError for a slope below 0 or not finite.
  void do_create(const Shape& input_shape) override;

 private:
  ActivationOptions options_;
};

}  // namespace lockstep
