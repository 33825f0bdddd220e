// The layer that turns scores into probabilities.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Options of softmax.
struct SoftmaxOptions {
  int axis = -1;                              ///< negative counts from the end; not the batch axis
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// output = exp(input) / sum exp(input), sums along the axis, without overflow for finite input.
class LOCKSTEP_EXPORT Softmax final : public Layer {
 public:
  explicit Softmax(SoftmaxOptions options = {});

  [[nodiscard]] const SoftmaxOptions& options() const noexcept { return options_; }

  /// Throws ArgumentError when the input has no such axis, or it is the batch axis.
  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  [[nodiscard]] bool works_in_place() const noexcept override { return true; }

  /// The output may be the memory of the input.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// The gradients may be the same memory.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  void do_create(const Shape& input_shape) override;

 private:
  SoftmaxOptions options_;
};

}  // namespace lockstep
