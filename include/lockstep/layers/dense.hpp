// The fully connected layer.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/kernels/activation_function.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/layers/layer.hpp"
#include "lockstep/layers/scope_options.hpp"
#include "lockstep/params/constraint.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/regularizer.hpp"

namespace lockstep {

class BatchNormalization;
class Multiplier;

/// Options of a fully connected layer; names and defaults are those of Keras.
struct DenseOptions {
  std::int64_t units = 0;  ///< outputs per sample or position, > 0; has no default
  /// Applied last. leaky_relu has the slope default_negative_slope; Activation takes others.
  ActivationFunction activation = ActivationFunction::linear;
  bool use_bias = true;
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = Zeros{};
  Regularizer kernel_regularizer = {};
  Regularizer bias_regularizer = {};
  Constraint kernel_constraint = {};
  Constraint bias_constraint = {};
  /// Batch normalization between product and activation, which it applies. The layer has no bias
  /// then, and what its options say of one is not used. Channels are along the last axis; mode and
  /// 16-bit rounding are those of the layer.
  std::optional<BatchNormalizationOptions> normalizer = std::nullopt;
  bool trainable = true;
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
  ScopeOptions scope = {};
};

/// output = activation(input kernel + bias), a product over the last axis: [samples, ..., inputs]
/// becomes [samples, ..., units]. Variables: "kernel" [inputs, units] and, where it has one,
/// "bias" [units]. Their gradients are local: sums over the samples of this rank.
///
/// With a normalizer it is Dense without a bias followed by BatchNormalization, except that 16-bit
/// numbers are rounded once, at the end. Variables of the normalizer are
/// "batch_normalization/gamma" and so on. It takes the weights and the mask of calls.
class LOCKSTEP_EXPORT Dense final : public Layer {
 public:
  explicit Dense(DenseOptions options = {});
  ~Dense() override;
  Dense(Dense&&) noexcept;
  Dense& operator=(Dense&&) noexcept;

  [[nodiscard]] const DenseOptions& options() const noexcept { return options_; }

  /// Throws StateError without one.
  [[nodiscard]] BatchNormalization& normalizer() const;

  /// Throws ArgumentError for units below 1, and for inputs without a last axis of known extent
  /// besides the batch axis.
  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;

  /// The output must not be the memory of the input, nor a gradient that of the other. Collective
  /// in training mode where the normalizer is synchronized; then all ranks throw what one does.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  void do_create(const Shape& input_shape) override;

 private:
  void transform(const TensorView& input, const MutableTensorView& output, const Call& call);
  void transform_and_normalize(const TensorView& input, const MutableTensorView& output,
                               const Call& call);
  void differentiate(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients gradients);

  DenseOptions options_;
  Variable* kernel_ = nullptr;                // owned by Layer, where moves of the layer leave them
  Variable* bias_ = nullptr;                  // null without a bias
  BatchNormalization* normalizer_ = nullptr;  // an inner layer; null without
  std::unique_ptr<Multiplier> multiplier_;    // null until created
  std::vector<double> bias_sums_;
};

}  // namespace lockstep
