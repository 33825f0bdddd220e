// Faults, and the places in a training run where they strike.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/layers/layer.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/train/callback.hpp"
#include "lockstep/train/dataset.hpp"

namespace lockstep::testing {

/// What happens on the rank that is `armed`, when it comes to `place`; nothing elsewhere.
struct Trap {
  std::string place;
  std::function<void()> spring;
};

/// Sets the trap of this rank. It springs once.
void arm(Trap trap);
void disarm() noexcept;

/// Springs the trap of this rank if it is set at `place`.
void pass(const std::string& place);

/// The places of a run of trapped parts, in their order.
const std::vector<std::string>& places();

/// The name that an error at `place` must contain: that of the layer or part.
std::string name_at(const std::string& place);

/// Passes numbers through, and `pass`es the place of its name in forward or backward:
/// "forward 1" and "backward 1" for number 1.
class TrapLayer final : public Layer {
 public:
  explicit TrapLayer(int number);

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override { return input_shape; }
  [[nodiscard]] std::string configuration() const override { return "{}"; }
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient, Gradients gradients) override;

 private:
  void do_create(const Shape&) override {}

  int number_;
};

class TrapLoss final : public Loss {
 public:
  [[nodiscard]] std::string name() const override { return "loss"; }
  [[nodiscard]] std::string configuration() const override { return "loss"; }
  double evaluate(const TensorView& predictions, const TensorView& targets,
                  const MutableTensorView& gradient) const override;

 private:
  SparseCategoricalCrossentropy loss_;
};

/// To be followed by the callback that saves: the others are on their way there at "save".
class TrapCallback final : public Callback {
 public:
  void on_step_end(Trainer& trainer, const StepRecord& record) override;
  void on_epoch_end(Trainer& trainer, const EpochRecord& record) override;
};

/// Points in three classes; those with `value` hold that number instead, on this rank alone.
class TrapData final : public Dataset {
 public:
  TrapData();

  [[nodiscard]] std::int64_t num_samples() const noexcept override;
  [[nodiscard]] Shape input_shape() const override;
  [[nodiscard]] Shape target_shape() const override { return {}; }
  [[nodiscard]] DType input_dtype() const noexcept override { return DType::float32; }
  [[nodiscard]] DType target_dtype() const noexcept override { return DType::int64; }

  /// The first number of the next batch that this rank reads becomes `value`.
  void poison_next(double value) { poison_ = value; }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override;

  std::unique_ptr<Dataset> points_;
  mutable std::optional<double> poison_;
};

}  // namespace lockstep::testing
