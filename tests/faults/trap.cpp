#include "faults/trap.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "lockstep/train/synthetic.hpp"

namespace lockstep::testing {
namespace {

std::optional<Trap> trap;

void copy(const TensorView& from, const MutableTensorView& to) {
  std::ranges::copy(from.values<float>(), to.values<float>().begin());
}

}  // namespace

void arm(Trap new_trap) { trap = std::move(new_trap); }
void disarm() noexcept { trap.reset(); }

void pass(const std::string& place) {
  if (!trap || trap->place != place) return;
  std::exchange(trap, std::nullopt)->spring();
}

const std::vector<std::string>& places() {
  static const std::vector<std::string> all{
      "data",       "forward 0",  "forward 1",  "forward 2", "loss",      "backward 2",
      "backward 1", "backward 0", "evaluation", "step end",  "epoch end",
  };
  return all;
}

std::string name_at(const std::string& place) {
  if (place.starts_with("forward") || place.starts_with("backward"))
    return "trap_" + place.substr(place.size() - 1);
  if (place == "step end") return "on_step_end";
  if (place == "epoch end") return "on_epoch_end";
  return place;
}

TrapLayer::TrapLayer(int number)
    : Layer({.type = "Trap",
             .name = "trap_" + std::to_string(number),
             .input_shape = {},
             .dtype = {},
             .trainable = true}),
      number_(number) {}

std::unique_ptr<Tape> TrapLayer::make_tape() const { return std::make_unique<Tape>(); }

void TrapLayer::forward(const TensorView& input, const MutableTensorView& output,
                        const Call& call) {
  if (call.mode == Mode::training) pass("forward " + std::to_string(number_));
  copy(input, output);
}

void TrapLayer::backward(Tape&, const TensorView& output_gradient,
                         const MutableTensorView& input_gradient, Gradients) {
  pass("backward " + std::to_string(number_));
  if (!input_gradient.is_null()) copy(output_gradient, input_gradient);
}

double TrapLoss::evaluate(const TensorView& predictions, const TensorView& targets,
                          const MutableTensorView& gradient) const {
  pass(gradient.is_null() ? "evaluation" : "loss");
  return loss_.evaluate(predictions, targets, gradient);
}

void TrapCallback::on_step_end(Trainer&, const StepRecord&) {
  pass("step end");
  pass("save");
}
void TrapCallback::on_epoch_end(Trainer&, const EpochRecord&) { pass("epoch end"); }

TrapData::TrapData()
    : points_(std::make_unique<SyntheticBlobs>(
          SyntheticBlobsOptions{.num_samples = 60, .num_classes = 3, .num_features = 4})) {}

std::int64_t TrapData::num_samples() const noexcept { return points_->num_samples(); }
Shape TrapData::input_shape() const { return points_->input_shape(); }

void TrapData::do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
                       const MutableTensorView& targets) const {
  pass("data");
  points_->read(indices, inputs, targets);
  if (poison_ && !indices.empty())
    inputs.values<float>()[0] = static_cast<float>(*std::exchange(poison_, std::nullopt));
}

}  // namespace lockstep::testing
