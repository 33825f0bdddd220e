// The mean of every channel over all positions.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/data_format.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

struct GlobalAveragePoolOptions {
  DataFormat data_format = DataFormat::nhwc;  ///< channels last, or first after the samples
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// [samples, ..., channels] or [samples, channels, ...] -> [samples, channels]: the mean over one
/// or more spatial axes, summed in double.
class LOCKSTEP_EXPORT GlobalAveragePool : public Layer {
 public:
  explicit GlobalAveragePool(GlobalAveragePoolOptions options = {});

  [[nodiscard]] const GlobalAveragePoolOptions& options() const noexcept { return options_; }

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;

  /// Throws StateError before create or on another layer's tape, ArgumentError on views that do not
  /// fit; then `output` is as it was.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// Throws StateError on a tape that recorded nothing, otherwise as forward().
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  void do_create(const Shape& input_shape) override;

 private:
  GlobalAveragePoolOptions options_;
  std::vector<double> sums_;  // one per channel
};

}  // namespace lockstep
