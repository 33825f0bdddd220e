// Two-dimensional convolution.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/layers/data_format.hpp"
#include "lockstep/layers/layer.hpp"
#include "lockstep/layers/scope_options.hpp"
#include "lockstep/params/constraint.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/regularizer.hpp"

namespace lockstep {

class BatchNormalization;
class Convolver;

/// Options of a convolution; names and defaults are those of Keras.
struct Conv2DOptions {
  std::int64_t filters = 0;  ///< channels of the output, >= 1
  Size2D kernel_size = {};
  Size2D strides = {};
  Padding padding = Padding::valid;
  DataFormat data_format = DataFormat::nhwc;
  bool use_bias = true;
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = Zeros{};
  Regularizer kernel_regularizer = {};
  Regularizer bias_regularizer = {};
  Constraint kernel_constraint = {};
  Constraint bias_constraint = {};
  /// Batch normalization of the result, with an activation where it has one. The layer has no bias
  /// then, and what its options say of one is not used. Channels are those of data_format; mode and
  /// 16-bit rounding are those of the layer.
  std::optional<BatchNormalizationOptions> normalizer = std::nullopt;
  bool trainable = true;
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
  ScopeOptions scope = {};
};

/// output = sum over the window of input * kernel, plus bias. The kernel is not flipped: what
/// neural networks call convolution is a cross-correlation. Zeros lie around the input where the
/// padding is `same`. Products are summed in the kernel's dtype, the bias' gradient in double.
///
/// With a normalizer it is Conv2D without a bias followed by BatchNormalization, except that 16-bit
/// numbers are rounded once, at the end. Variables of the normalizer are
/// "batch_normalization/gamma" and so on. It takes the weights and the mask of calls.
class LOCKSTEP_EXPORT Conv2D : public Layer {
 public:
  explicit Conv2D(Conv2DOptions options);
  ~Conv2D() override;
  Conv2D(Conv2D&&) noexcept;
  Conv2D& operator=(Conv2D&&) noexcept;

  [[nodiscard]] const Conv2DOptions& options() const noexcept { return options_; }

  /// [height, width, input channels, filters]. Throws StateError before create.
  [[nodiscard]] Variable& kernel();
  /// [filters]. Throws StateError before create and without a bias.
  [[nodiscard]] Variable& bias();
  /// Throws StateError without one.
  [[nodiscard]] BatchNormalization& normalizer() const;

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;

  /// Throws StateError before create or on another layer's tape, ArgumentError on views that do not
  /// fit; then `output` is as it was. Collective in training mode where the normalizer is
  /// synchronized; then all ranks throw what one does.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// Throws StateError on a tape that recorded nothing, otherwise as forward().
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  void do_create(const Shape& input_shape) override;

 private:
  void transform(const TensorView& input, const MutableTensorView& output, const Call& call);
  void differentiate(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients gradients);

  Conv2DOptions options_;
  Variable* kernel_ = nullptr;
  Variable* bias_ = nullptr;                  // null without a bias
  BatchNormalization* normalizer_ = nullptr;  // an inner layer; null without
  std::unique_ptr<Convolver> convolver_;      // null until created
  std::vector<double> bias_sums_;             // one per filter
};

}  // namespace lockstep
