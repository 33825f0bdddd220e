// A named tensor of a layer, with its gradient where it is trained.

#pragma once

#include <cstdint>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep {

enum class VariableRole : std::uint8_t {
  parameter,  ///< has a gradient and is trained by an optimizer
  statistic,  ///< learned in the forward pass, such as moving_mean
  state,      ///< what later bits depend on, of no meaning to people
};

/// Whose samples a gradient sums.
enum class GradientScope : std::uint8_t {
  local,   ///< those of this rank; must still be summed over the ranks
  global,  ///< those of all ranks; must not be summed again
};

/// A value that a layer owns and that can be listed, read and set by name.
class LOCKSTEP_EXPORT Variable {
 public:
  /// `name` is the full one, "dense/kernel".
  Variable(std::string name, Tensor value, VariableRole role);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] VariableRole role() const noexcept { return role_; }
  [[nodiscard]] const Shape& shape() const noexcept { return value_.shape(); }
  [[nodiscard]] DType dtype() const noexcept { return value_.dtype(); }
  [[nodiscard]] std::int64_t num_elements() const noexcept { return value_.num_elements(); }

  [[nodiscard]] TensorView value() const noexcept { return value_; }
  [[nodiscard]] MutableTensorView value() noexcept { return value_; }

  /// Copies `source` into the value, converting between floating dtypes. Throws ArgumentError when
  /// the shapes differ, or the dtypes and one of them is not floating. Replicas stay replicas only
  /// when every rank assigns the same.
  void assign(const TensorView& source);

  /// Gradient of the loss summed over samples; empty unless the role is parameter.
  [[nodiscard]] TensorView grad() const noexcept { return gradient_; }
  [[nodiscard]] MutableTensorView grad() noexcept { return gradient_; }

  /// Whose samples grad() sums after the last backward pass.
  [[nodiscard]] GradientScope gradient_scope() const noexcept { return gradient_scope_; }
  void set_gradient_scope(GradientScope scope) noexcept { gradient_scope_ = scope; }

  /// Whether optimizers change it: a parameter of a layer that is not frozen.
  [[nodiscard]] bool is_trainable() const noexcept { return is_trainable_; }
  void set_trainable(bool is_trainable) noexcept {
    is_trainable_ = is_trainable && role_ == VariableRole::parameter;
  }

 private:
  std::string name_;
  Tensor value_;
  Tensor gradient_;
  VariableRole role_;
  GradientScope gradient_scope_ = GradientScope::local;
  bool is_trainable_;
};

}  // namespace lockstep
