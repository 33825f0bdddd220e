// How gradients change parameters: stochastic gradient descent and Adam.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/params/variable.hpp"
#include "lockstep/train/learning_rate.hpp"

namespace lockstep {

/// Steps of gradient descent on a fixed list of variables. Steps are computed in double; state has
/// the dtype of its parameter, as Keras stores it, and costs no more memory than that. On replicas
/// with equal gradients it makes equal steps.
class LOCKSTEP_EXPORT Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(Optimizer&&) noexcept;
  Optimizer& operator=(Optimizer&&) noexcept;

  /// Makes zero state for the parameters among `variables`, frozen ones included; they must outlive
  /// the calls of apply(). Throws ArgumentError on bad options; what was prepared before stays
  /// then.
  void prepare(std::span<Variable* const> variables);

  /// One step from the gradients, which the caller has summed over all ranks and divided by the
  /// number of samples. Frozen variables and their state stay as they are. Allocates nothing; does
  /// nothing before prepare().
  void apply() noexcept;

  /// Number of calls of apply() since prepare().
  [[nodiscard]] std::int64_t num_steps() const noexcept;

  /// That of the next step.
  [[nodiscard]] double learning_rate() const noexcept { return schedule_.at(num_steps()); }
  [[nodiscard]] const LearningRate& schedule() const noexcept { return schedule_; }
  /// Throws ArgumentError for what validate() refuses.
  void set_learning_rate(const LearningRate& learning_rate);

  [[nodiscard]] virtual std::string name() const = 0;

  /// Name and options in words, the learning rate included; compared between ranks.
  [[nodiscard]] virtual std::string configuration() const = 0;

  /// A tensor that later steps depend on, "dense/kernel/velocity".
  struct State {
    std::string name;
    Tensor* value;
  };
  /// Everything that must be saved to continue with the same bits; empty before prepare().
  [[nodiscard]] std::vector<State> state();

 protected:
  Optimizer(const LearningRate& learning_rate, std::optional<double> clip_norm);

  /// Throws ArgumentError on options that cannot be used.
  virtual void check_options() const;
  /// Names of the tensors kept per parameter.
  [[nodiscard]] virtual std::span<const std::string_view> slot_names() const noexcept = 0;
  /// One step of one parameter from its gradient times `gradient_factor`.
  virtual void update(Variable& variable, std::span<Tensor> slots,
                      double gradient_factor) const noexcept = 0;

  [[nodiscard]] const std::optional<double>& clip_norm() const noexcept { return clip_norm_; }
  /// The learning rate of the step that update() makes.
  [[nodiscard]] double rate() const noexcept { return rate_; }

 private:
  struct Parameter {
    Variable* variable;
    std::vector<Tensor> slots;
  };

  [[nodiscard]] double gradient_factor() const noexcept;

  LearningRate schedule_;
  double rate_ = 0.0;
  std::optional<double> clip_norm_;
  std::vector<Parameter> parameters_;
  Tensor num_steps_;  // one int64, no elements before prepare()
};

struct SgdOptions {
  LearningRate learning_rate = 0.01;
  double momentum = 0.0;  ///< in [0, 1]
  bool nesterov = false;
  std::optional<double> clip_norm = std::nullopt;  ///< largest norm of all gradients together
};

/// Gradient descent with momentum, as Keras: with gradient g and learning rate r
///
///     velocity <- momentum * velocity - r * g
///     w <- w + velocity, with Nesterov's momentum w <- w + momentum * velocity - r * g
///
/// Sutskever et al.: On the importance of initialization and momentum in deep learning, 2013.
class LOCKSTEP_EXPORT Sgd final : public Optimizer {
 public:
  explicit Sgd(SgdOptions options = {});

  [[nodiscard]] std::string name() const override;
  [[nodiscard]] std::string configuration() const override;

 private:
  void check_options() const override;
  [[nodiscard]] std::span<const std::string_view> slot_names() const noexcept override;
  void update(Variable& variable, std::span<Tensor> slots,
              double gradient_factor) const noexcept override;

  SgdOptions options_;
};

struct AdamOptions {
  LearningRate learning_rate = 1e-3;
  double beta_1 = 0.9;                             ///< weight of the old first moment, in [0, 1)
  double beta_2 = 0.999;                           ///< weight of the old second moment, in [0, 1)
  double epsilon = 1e-7;                           ///< > 0, beside the root
  std::optional<double> clip_norm = std::nullopt;  ///< largest norm of all gradients together
};

/// Adam as Keras: with gradient g, learning rate r and step t = 1, 2, ...
///
///     m <- m + (g - m) * (1 - beta_1)        v <- v + (g^2 - v) * (1 - beta_2)
///     w <- w - r * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)
///
/// Kingma and Ba: Adam: a method for stochastic optimization, 2015, end of section 2.
class LOCKSTEP_EXPORT Adam final : public Optimizer {
 public:
  explicit Adam(AdamOptions options = {});

  [[nodiscard]] std::string name() const override;
  [[nodiscard]] std::string configuration() const override;

 private:
  void check_options() const override;
  [[nodiscard]] std::span<const std::string_view> slot_names() const noexcept override;
  void update(Variable& variable, std::span<Tensor> slots,
              double gradient_factor) const noexcept override;

  AdamOptions options_;
};

}  // namespace lockstep
