// Layers as small as can be, to test what is around them.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "comm/exchange.hpp"
#include "comm/schedule.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

struct ToyTape final : Tape {
  TensorView input;
  double num_pending = 0.0;
};

struct ScaleOptions {
  Initializer initializer = RandomUniform{.minimum = 0.5, .maximum = 2.0};
  std::function<void()> at_create = {};
  std::function<void()> at_forward = {};
  bool trainable = true;
  std::optional<DType> dtype = std::nullopt;
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;
};

/// y = x * factor, [samples, features]; learns how many samples it saw. One variable
/// of every role.
class Scale final : public Layer {
 public:
  explicit Scale(ScaleOptions options = {});

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient, Gradients gradients) override;
  void commit(Tape& tape) noexcept override;

 private:
  void do_create(const Shape& input_shape) override;

  ScaleOptions options_;
  Variable* factor_ = nullptr;
  Variable* num_seen_ = nullptr;
};

/// y = [x, x], [samples, features] to [samples, 2 * features].
class Twice final : public Layer {
 public:
  Twice();

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient, Gradients gradients) override;

 private:
  void do_create(const Shape& input_shape) override;
};

/// y = x; in training it counts the samples of all ranks, one merge each in forward and backward.
class Census final : public Layer {
 public:
  explicit Census(std::string name = {});

  /// Samples of all ranks in the last training call.
  [[nodiscard]] double num_samples() const noexcept { return num_samples_; }
  [[nodiscard]] Exchange& exchange(Pass pass);

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient, Gradients gradients) override;
  void add_appointments(Pass pass, Schedule& schedule) override;

 private:
  void do_create(const Shape& input_shape) override;
  void do_connect(const Communicator& replicas) override;

  std::array<std::unique_ptr<Exchange>, 2> exchanges_;
  double num_samples_ = 0.0;
};

}  // namespace lockstep::testing
