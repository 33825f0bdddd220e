#include "lockstep/model/sequential.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "comm/agreement.hpp"
#include "layers/free_name.hpp"
#include "layers/in_turns.hpp"
#include "layers/shared_gradients.hpp"
#include "layers/within.hpp"
#include "lockstep/base/error.hpp"
#include "model/sequential_parts.hpp"
#include "model/summary.hpp"

namespace lockstep {
namespace {

void refuse_residual(const Call& call) {
  if (!call.residual.is_null())
    throw ArgumentError("a model takes no residual, only layers do; use the layer Residual in it");
}

}  // namespace

Sequential::Sequential(SequentialOptions options, Strategy strategy)
    : options_(std::move(options)),
      strategy_(std::move(strategy)),
      schedules_(std::make_unique<Schedules>()),
      memory_(std::make_unique<Memory>()) {}

Sequential::Sequential(Strategy strategy) : Sequential(SequentialOptions{}, std::move(strategy)) {}

Sequential::~Sequential() = default;
Sequential::Sequential(Sequential&&) noexcept = default;
Sequential& Sequential::operator=(Sequential&&) noexcept = default;

Sequential& Sequential::add(std::unique_ptr<Layer> layer) {
  if (layer == nullptr) throw ArgumentError("a null pointer is no layer");
  if (created_for_)
    throw StateError(
        fmt::format("model '{}' has variables already; add layer '{}' before build(), variables() "
                    "and summary()",
                    name(), layer->name()));
  const std::string free_name = free_name_of(*layer, [&](const std::string& name) {
    return std::ranges::any_of(stages_, [&](const Stage& s) { return s.layer->name() == name; });
  });
  if (free_name != layer->name()) layer->rename(free_name);
  stages_.push_back({std::move(layer), nullptr, {}, {}});
  return *this;
}

std::vector<Layer*> Sequential::layers() {
  std::vector<Layer*> result;
  for (const Stage& stage : stages_) result.push_back(stage.layer.get());
  return result;
}

std::vector<const Layer*> Sequential::layers() const {
  std::vector<const Layer*> result;
  for (const Stage& stage : stages_) result.push_back(stage.layer.get());
  return result;
}

Layer& Sequential::layer(std::string_view name) {
  std::string known;
  for (const Stage& stage : stages_) {
    if (stage.layer->name() == name) return *stage.layer;
    known += (known.empty() ? "" : ", ") + stage.layer->name();
  }
  throw ArgumentError(
      fmt::format("model '{}' has no layer '{}'; it has: {}", this->name(), name, known));
}

std::vector<Variable*> Sequential::variables() {
  create_if_needed();
  std::vector<Variable*> result;
  for (const Stage& stage : stages_)
    for (Variable* variable : stage.layer->variables())
      if (std::ranges::count(result, variable) == 0) result.push_back(variable);
  return result;
}

Variable& Sequential::variable(std::string_view full_name) {
  std::string known;
  for (Variable* variable : variables()) {
    if (variable->name() == full_name) return *variable;
    known += (known.empty() ? "" : ", ") + variable->name();
  }
  throw ArgumentError(
      fmt::format("model '{}' has no variable '{}'; it has: {}", name(), full_name, known));
}

std::string Sequential::summary() {
  create_if_needed();
  return summary_of(name(), rows());
}

std::vector<SummaryRow> Sequential::rows() const {
  std::vector<SummaryRow> rows;
  for (const Stage& stage : stages_) rows.push_back({stage.layer.get(), stage.output_shape});
  return rows;
}

void Sequential::set_mode(Mode mode) {
  if (is_built()) {
    const Property property{"mode", std::string(name_of(mode))};
    agree(strategy_.replicas(), {fmt::format("model '{}'", name()), "set_mode", -1},
          {&property, 1});
  }
  mode_ = mode;
}

const Tensor& Sequential::forward(const TensorView& input, const Call& call) {
  const Mode mode = call.mode.value_or(mode_);
  if (mode == Mode::inference) return infer(input, call);
  if (!is_built())
    throw StateError(fmt::format("model '{}' is not built; call build() before training", name()));
  // Those of backward follow from what the layers are now, as their tapes do.
  schedules_->forward.clear();
  schedules_->backward.clear();
  add_appointments(Pass::forward, schedules_->forward);
  add_appointments(Pass::backward, schedules_->backward);
  has_record_ = false;
  schedules_->forward.keep(
      call.step, [&] { run(input, call); },
      [&] {
        return Meeting{fmt::format("model '{}'", name()), "forward", call.step};
      });
  step_ = call.step;
  has_record_ = call.population == nullptr;
  if (call.commit == Commit::at_once) commit();
  return memory_->output;
}

void Sequential::run(const TensorView& input, const Call& call) {
  refuse_residual(call);
  plan_activations(input);
  TensorView activation = input;
  for (Stage& stage : stages_) {
    within(*stage.layer, [&] {
      const Shape shape = stage.layer->output_shape(activation.shape());
      if (&stage != &stages_.back() && stage.layer->shows_outputs()) {
        stage.shown.resize(shape, stage.layer->dtype());
        stage.output = stage.shown;
      } else if (&stage == &stages_.back()) {
        memory_->output.resize(shape, stage.layer->dtype());
        stage.output = memory_->output;
      } else {
        stage.output = memory_->activations.take(shape, stage.layer->dtype());
      }
      Call own = call;
      own.mode = Mode::training;
      own.tape = stage.tape.get();
      own.commit = Commit::by_caller;  // a later layer may fail
      stage.layer->forward(activation, stage.output, own);
    });
    activation = stage.output;
  }
}

// One piece for all of them. A layer whose outputs do not grow with the batch may need more.
void Sequential::plan_activations(const TensorView& input) {
  within(*stages_.front().layer, [&] { input.check("the input"); });
  const std::int64_t num_samples = input.shape().rank() == 0 ? 0 : input.shape()[0];
  std::size_t size = 0;
  for (std::size_t i = 0; i + 1 < stages_.size(); ++i)
    if (!stages_[i].layer->shows_outputs())
      size +=
          Arena::size_of(stages_[i].output_shape.with(0, num_samples), stages_[i].layer->dtype());
  memory_->activations.release();
  memory_->activations.reserve(size);
}

const Tensor& Sequential::infer(const TensorView& input, const Call& call) {
  refuse_residual(call);
  create_if_needed();
  Call own = call;
  own.mode = Mode::inference;
  own.tape = nullptr;
  TensorView activation = input;
  const Tensor* result = nullptr;
  for (Stage& stage : stages_) {
    Layer& layer = *stage.layer;
    within(layer, [&] {
      const Shape shape = layer.output_shape(activation.shape());
      Tensor& output = layer.shows_outputs()
                           ? stage.shown_in_inference
                           : target_in(memory_->inference, layer, activation, shape, layer.dtype());
      output.resize(shape, layer.dtype());
      layer.forward(activation, output, own);
      result = &output;
    });
    activation = *result;
  }
  return *result;
}

void Sequential::backward(const TensorView& output_gradient, Gradients gradients,
                          const MutableTensorView& input_gradient) {
  if (!is_built())
    throw StateError(fmt::format("model '{}' is not built; call build() before training", name()));
  const auto differentiate = [&] {
    if (!has_record_)
      throw StateError(fmt::format(
          "model '{}' has no recorded call; call forward() in training mode before backward()",
          name()));
    TensorView gradient = output_gradient;
    shared_gradients_->begin(gradients);
    for (std::size_t i = stages_.size(); i-- > 0;) {
      MutableTensorView below = input_gradient;
      within(*stages_[i].layer, [&] {
        if (i > 0) {
          const TensorView& activation = stages_[i - 1].output;
          below = target_in(memory_->gradients, *stages_[i].layer, gradient, activation.shape(),
                            activation.dtype());
        }
        shared_gradients_->begin_layer(*stages_[i].layer);
        stages_[i].layer->backward(*stages_[i].tape, gradient, below, gradients);
        shared_gradients_->finish_layer(*stages_[i].layer);
      });
      gradient = below;
    }
    shared_gradients_->finish(strategy_.rank() == 0);
  };
  schedules_->backward.keep(step_, differentiate, [&] {
    return Meeting{fmt::format("model '{}'", name()), "backward", step_};
  });
}

void Sequential::fail(Pass pass, std::exception_ptr reason) {
  if (!is_built())
    throw StateError(fmt::format("model '{}' is not built; call build() before training", name()));
  if (reason == nullptr)
    reason = std::make_exception_ptr(StateError("fail() was given no exception as its reason"));
  Schedule& schedule = pass == Pass::forward ? schedules_->forward : schedules_->backward;
  if (pass == Pass::forward) {
    has_record_ = false;  // as forward() does on the other ranks
    schedule.clear();
    add_appointments(pass, schedule);
  }
  schedule.fail(pass == Pass::forward ? -1 : step_,
                *attempt([&] { std::rethrow_exception(reason); }));
}

void Sequential::commit() noexcept {
  if (!has_record_) return;
  for (Stage& stage : stages_) stage.layer->commit(*stage.tape);
}

void Sequential::apply_updates() noexcept {
  apply_in_order(stages_, [](const Stage& stage) { return stage.layer->update_source(); });
  for (Stage& stage : stages_) stage.layer->apply_updates();
}

void Sequential::add_appointments(Pass pass, Schedule& schedule) {
  if (pass == Pass::forward)
    for (Stage& stage : stages_) stage.layer->add_appointments(pass, schedule);
  else
    std::for_each(stages_.rbegin(), stages_.rend(),
                  [&](Stage& stage) { stage.layer->add_appointments(pass, schedule); });
}

}  // namespace lockstep
