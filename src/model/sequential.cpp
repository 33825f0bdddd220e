#include "lockstep/model/sequential.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>
#include <span>

#include "comm/agreement.hpp"
#include "comm/schedule.hpp"
#include "layers/free_name.hpp"
#include "layers/shared_gradients.hpp"
#include "layers/within.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "model/model_properties.hpp"
#include "model/summary.hpp"

namespace lockstep {

struct Sequential::Stage {
  std::unique_ptr<Layer> layer;
  std::unique_ptr<Tape> tape;  // of the recorded call
  Shape output_shape;          // for a batch of one
  Tensor output;               // in training mode
};

struct Sequential::Schedules {
  Schedule forward;
  Schedule backward;  // of the recorded call
};

namespace {

std::span<std::byte> bytes_of(const MutableTensorView& values) {
  return {static_cast<std::byte*>(values.data()),
          static_cast<std::size_t>(values.num_elements()) * size_of(values.dtype())};
}

}  // namespace

Sequential::Sequential(SequentialOptions options, Strategy strategy)
    : options_(std::move(options)),
      strategy_(std::move(strategy)),
      schedules_(std::make_unique<Schedules>()) {}

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

Shape Sequential::sample_shape_for(const std::optional<Shape>& input_shape) const {
  if (stages_.empty())
    throw ArgumentError(fmt::format("model '{}' has no layers; add() some", name()));
  const Layer& first = *stages_.front().layer;
  if (!input_shape) {
    if (created_for_) return *created_for_;
    if (first.input_shape()) return *first.input_shape();
    throw StateError(
        fmt::format("model '{}' does not know its input; give layer '{}' an input_shape or call "
                    "build() with one",
                    name(), first.name()));
  }
  if (input_shape->rank() == 0)
    throw ArgumentError("the input has no axis; axis 0 runs over samples");
  const Shape sample_shape = input_shape->without_first();
  if (first.input_shape() && *first.input_shape() != sample_shape)
    throw ArgumentError(
        fmt::format("layer '{}' has the input_shape {}, build() was given samples of shape {}",
                    first.name(), to_string(*first.input_shape()), to_string(sample_shape)));
  return sample_shape;
}

void Sequential::check_before_create(const Shape& sample_shape) const {
  if (created_for_ && *created_for_ != sample_shape)
    throw StateError(fmt::format(
        "model '{}' has variables for samples of shape {} already; make another model for {}",
        name(), to_string(*created_for_), to_string(sample_shape)));
  if (std::ranges::any_of(sample_shape, [](std::int64_t extent) { return extent < 1; }))
    throw ArgumentError(
        fmt::format("model '{}' cannot take samples of shape {}; extents must be at least 1",
                    name(), to_string(sample_shape)));
  std::set<std::string_view> names;
  for (const Stage& stage : stages_)
    if (!names.insert(stage.layer->name()).second)
      throw ArgumentError(
          fmt::format("model '{}' has several layers named '{}'; names must be unique", name(),
                      stage.layer->name()));
}

// Continues after the last layer that has variables: an attempt before may have failed half way.
void Sequential::create_for(const Shape& sample_shape) {
  check_before_create(sample_shape);
  Shape shape = sample_shape.prepended(1);
  const Layer* below = nullptr;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    Layer& layer = *stage.layer;
    const std::string place =
        below == nullptr
            ? fmt::format(" for the input {}", batch_text_of(shape))
            : fmt::format(" for the output {} of layer '{}'", batch_text_of(shape), below->name());
    within(layer, place, [&] {
      if (i == num_created_) {
        layer.create(shape, dtype(), seed());
        ++num_created_;
        created_for_ = sample_shape;
      }
      if (below != nullptr && layer.dtype() != below->dtype())
        throw ArgumentError(fmt::format(
            "it computes in {}, the layer before it in {}; all layers of a model need one dtype",
            name_of(layer.dtype()), name_of(below->dtype())));
      stage.output_shape = layer.output_shape(shape);
      stage.tape = layer.make_tape();
    });
    shape = stage.output_shape;
    below = &layer;
  }
  shared_gradients_ = std::make_unique<SharedGradients>(layers());
  is_created_ = true;
}

void Sequential::create_if_needed() {
  if (!is_created_) create_for(sample_shape_for(std::nullopt));
}

void Sequential::create(const Shape& input_shape) {
  const Shape sample_shape = sample_shape_for(input_shape);
  if (is_created_) return check_before_create(sample_shape);
  create_for(sample_shape);
}

void Sequential::build(const Shape& input_shape) { build_for(input_shape); }
void Sequential::build() { build_for(std::nullopt); }

void Sequential::build_for(const std::optional<Shape>& input_shape) {
  std::vector<Property> properties;
  const auto failure = attempt([&] {
    if (is_built()) throw StateError(fmt::format("model '{}' is built already", name()));
    const Shape sample_shape = sample_shape_for(input_shape);
    create_for(sample_shape);
    properties = properties_of(options_, sample_shape, rows());
  });
  agree(strategy_.replicas(), {fmt::format("model '{}'", name()), "build", -1}, properties,
        failure);
  // One communicator for the agreements of trainer, model and layers: a rank that is in another
  // call than the others is told so by the first that meet.
  auto control = strategy_.shared_replicas();
  for (Stage& stage : stages_) stage.layer->connect(control);
  for (Variable* variable : variables()) broadcast(*control, bytes_of(variable->value()), 0);
  control_ = std::move(control);
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
  return stages_.back().output;
}

void Sequential::run(const TensorView& input, const Call& call) {
  TensorView activation = input;
  for (Stage& stage : stages_) {
    within(*stage.layer, [&] {
      stage.output.resize(stage.layer->output_shape(activation.shape()), stage.layer->dtype());
      Call own = call;
      own.mode = Mode::training;
      own.tape = stage.tape.get();
      own.commit = Commit::by_caller;  // a later layer may fail
      stage.layer->forward(activation, stage.output, own);
    });
    activation = stage.output;
  }
}

const Tensor& Sequential::infer(const TensorView& input, const Call& call) {
  create_if_needed();
  Call own = call;
  own.mode = Mode::inference;
  own.tape = nullptr;
  TensorView activation = input;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Tensor& output = inference_[i % 2];
    Layer& layer = *stages_[i].layer;
    within(layer, [&] {
      output.resize(layer.output_shape(activation.shape()), layer.dtype());
      layer.forward(activation, output, own);
    });
    activation = output;
  }
  return inference_[(stages_.size() - 1) % 2];
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
          const Tensor& activation = stages_[i - 1].output;
          gradients_[i % 2].resize(activation.shape(), activation.dtype());
          below = gradients_[i % 2];
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
