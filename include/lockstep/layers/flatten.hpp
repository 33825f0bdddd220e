// The layer that makes a vector of every sample.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Options of a flattening layer.
struct FlattenOptions {
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// [samples, ...] becomes [samples, elements of one sample], in row-major order.
class LOCKSTEP_EXPORT Flatten final : public Layer {
 public:
  explicit Flatten(FlattenOptions options = {});

  [[nodiscard]] const FlattenOptions& options() const noexcept { return options_; }

  /// Throws ArgumentError when the extents of a sample are not known.
  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  [[nodiscard]] bool works_in_place() const noexcept override { return true; }

  /// The output may be the memory of the input; then nothing is copied.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// The gradients may be the same memory.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  void do_create(const Shape& input_shape) override;

 private:
  FlattenOptions options_;
};

}  // namespace lockstep
