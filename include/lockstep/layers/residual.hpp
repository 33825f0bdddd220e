// A block of layers with a connection around them.

#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/kernels/activation_function.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

class BatchNormalization;
class SharedGradients;

/// Options of a residual block.
struct ResidualOptions {
  AnyActivation activation = ActivationFunction::linear;  ///< applied last
  double negative_slope = default_negative_slope;         ///< of leaky_relu, >= 0
  bool trainable = true;                                  ///< false freezes the layers inside
  std::optional<DType> dtype = std::nullopt;              ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// output = activation(main(input) + shortcut(input)), both of them layers one after another:
///
///     Residual block({.activation = ActivationFunction::relu});
///     block.add_main(Conv2D({...})).add_main(SyncBatchNormalization());
///     block.add_shortcut(Conv2D({...})).add_shortcut(SyncBatchNormalization());
///     model.add(std::move(block));
///
/// A shortcut without layers is the input itself. Where main ends with a BatchNormalization that
/// has no activation of its own, that one adds the shortcut and applies the activation in its own
/// pass over the data. 16-bit numbers are rounded after every layer.
///
/// He, Zhang, Ren and Sun: Deep Residual Learning for Image Recognition, 2015.
class LOCKSTEP_EXPORT Residual final : public Layer {
 public:
  explicit Residual(ResidualOptions options = {});
  ~Residual() override;
  Residual(Residual&&) noexcept;
  Residual& operator=(Residual&&) noexcept;

  [[nodiscard]] const ResidualOptions& options() const noexcept { return options_; }

  /// Puts a layer on top of a branch. It is named after the block, "residual/conv2d", with a number
  /// where that is taken and it has no name of its own. Throws StateError once there are variables.
  Residual& add_main(std::unique_ptr<Layer> layer);
  Residual& add_shortcut(std::unique_ptr<Layer> layer);
  template <std::derived_from<Layer> L>
  Residual& add_main(L layer) {
    return add_main(std::make_unique<L>(std::move(layer)));
  }
  template <std::derived_from<Layer> L>
  Residual& add_shortcut(L layer) {
    return add_shortcut(std::make_unique<L>(std::move(layer)));
  }

  /// The layers of the branches, the first one first.
  [[nodiscard]] std::span<const std::unique_ptr<Layer>> main_layers() const noexcept {
    return inner_layers().subspan(num_shortcut_);
  }
  [[nodiscard]] std::span<const std::unique_ptr<Layer>> shortcut_layers() const noexcept {
    return inner_layers().first(num_shortcut_);
  }

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  /// The configurations of the layers are in lists under "main" and "shortcut" of the options.
  [[nodiscard]] std::string configuration() const override;
  /// Throws what the clone() of a layer inside throws.
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;

  /// Passes first through the shortcut, then through main. The output must not be the memory of the
  /// input. When a rank fails in training before the last merge of the layers, all ranks throw the
  /// same error; afterwards it throws alone. Collective in training mode where a layer is.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// Passes back in the opposite order. The gradients must not be the same memory.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

 protected:
  /// Throws ArgumentError for a block without main, layers of one name, options that cannot be
  /// used, and branches whose outputs differ in shape.
  void do_create(const Shape& input_shape) override;

 private:
  void check_names() const;
  [[nodiscard]] Shape create_layers(std::size_t first, std::size_t last, Shape shape);
  [[nodiscard]] TensorView pass(std::size_t first, std::size_t last, TensorView input,
                                const Call& call);
  void pass_back(std::size_t first, std::size_t last, Tape& tape, TensorView gradient,
                 const MutableTensorView& input_gradient, Gradients gradients);
  void differentiate(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients gradients);

  ResidualOptions options_;
  std::size_t num_shortcut_ = 0;         // of the inner layers, the first ones
  BatchNormalization* fused_ = nullptr;  // the last inner layer, where it ends the block
  std::unique_ptr<SharedGradients> shared_gradients_;
  std::array<Tensor, 2> gradients_;  // of what is between layers, in turns
  Tensor sum_gradient_, shortcut_gradient_;
};

}  // namespace lockstep
