// A named tensor of a layer, with its gradient where it is trained.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/params/constraint.hpp"
#include "lockstep/params/regularizer.hpp"

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

  /// What the value adds to the loss, and what projects it after an optimizer step; none at first.
  [[nodiscard]] const Regularizer& regularizer() const noexcept { return regularizer_; }
  [[nodiscard]] const Constraint& constraint() const noexcept { return constraint_; }
  /// Throw ArgumentError for regularizers and constraints that are impossible here, and for
  /// variables that are not floating parameters; nothing has changed then. Replicas stay replicas
  /// only when every rank sets the same.
  void set_regularizer(Regularizer regularizer);
  void set_constraint(Constraint constraint);

 private:
  friend LOCKSTEP_EXPORT double regularization_loss(Variable& variable);
  friend LOCKSTEP_EXPORT void add_regularization_gradient(Variable& variable, double scale);
  friend LOCKSTEP_EXPORT void apply_constraint(Variable& variable);

  void require_floating_parameter(const char* for_what) const;
  [[nodiscard]] std::span<double> value_in_scratch() noexcept;

  std::string name_;
  Tensor value_;
  Tensor gradient_;
  VariableRole role_;
  GradientScope gradient_scope_ = GradientScope::local;
  bool is_trainable_;
  Regularizer regularizer_;
  Constraint constraint_;
  std::vector<double> scratch_;  // value and gradient in double, as far as they are needed
};

/// The penalty of the variable's regularizer, 0 without one, whether it is frozen or not. Like the
/// other two it allocates nothing, is equal on replicas, and throws only what a function of the
/// user's throws.
[[nodiscard]] LOCKSTEP_EXPORT double regularization_loss(Variable& variable);
/// The sum of the penalties.
[[nodiscard]] LOCKSTEP_EXPORT double regularization_loss(std::span<Variable* const> variables);

/// grad() += scale * d penalty / d value, whether the variable is frozen or not. Nothing without a
/// regularizer. With an error the gradient stays as it was.
LOCKSTEP_EXPORT void add_regularization_gradient(Variable& variable, double scale = 1.0);

/// Projects the value. Nothing without a constraint and for a frozen variable. With an error the
/// value stays as it was.
LOCKSTEP_EXPORT void apply_constraint(Variable& variable);

}  // namespace lockstep
