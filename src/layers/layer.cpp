#include "lockstep/layers/layer.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "comm/agreement.hpp"
#include "layers/default_name.hpp"
#include "layers/inner_layers.hpp"
#include "layers/layer_properties.hpp"
#include "lockstep/base/error.hpp"
#include "params/variable_place.hpp"

namespace lockstep {
Tape::Tape() = default;
Tape::~Tape() = default;
Tape::Tape(Tape&&) noexcept = default;
Tape& Tape::operator=(Tape&&) noexcept = default;

Layer::Layer(LayerTraits traits)
    : traits_(std::move(traits)), has_default_name_(traits_.name.empty()) {
  const ScopeOptions& scope = traits_.scope;
  const VariablePlace place = place_in(current_place(), scope.name, scope.reuse);
  if (!has_default_name_)
    traits_.name = take_name(place, traits_.name);
  else
    traits_.name = take_free_name(
        place, scope.default_name.empty() ? default_name_of(traits_.type) : scope.default_name);
  variable_scope_ = traits_.name;
  reuses_variables_ = place.reuses;
  registry_ = place.registry;
}

Layer::~Layer() = default;
Layer::Layer(Layer&&) noexcept = default;
Layer& Layer::operator=(Layer&&) noexcept = default;

void Layer::build(const Shape& input_shape, const Communicator& replicas) {
  std::vector<Property> properties;
  const auto failure = attempt([&] {
    if (!is_built()) created_for_.reset();  // of a call in which another rank failed
    make_variables(input_shape, DType::float32, 0);
    properties = properties_of(*this);
    properties.insert(properties.begin(), {"layer", fmt::format("{} '{}'", type(), name())});
    properties.push_back({"sample shape", to_string(sample_shape_of(input_shape))});
  });
  agree(replicas, {fmt::format("layer '{}'", name()), "build", -1}, properties, failure);
  connect(std::make_shared<const Communicator>(replicas.dup()));
  enter_collections();  // after all that can fail on another rank: a store has nothing half built
}

void Layer::create(const Shape& input_shape, DType default_dtype, std::uint64_t seed) {
  make_variables(input_shape, default_dtype, seed);
  enter_collections();
}

void Layer::make_variables(const Shape& input_shape, DType default_dtype, std::uint64_t seed) {
  if (created_for_ != nullptr) throw StateError(fmt::format("layer '{}' is built already", name()));
  if (input_shape.rank() == 0)
    throw ArgumentError("the input has no axis; a layer needs at least one");
  const DType dtype = traits_.dtype.value_or(default_dtype);
  if (!is_floating(dtype))
    throw ArgumentError(fmt::format("layer '{}' cannot compute in {}; use a floating dtype", name(),
                                    lockstep::name_of(dtype)));
  traits_.dtype = dtype;
  seed_ = seed;
  variables_.clear();  // of an attempt that failed
  update_source_.reset();
  if (inner_ != nullptr) {
    inner_->forget_variables();
    if (!traits_.trainable) inner_->freeze(false);
  }
  check_scope();
  do_create(input_shape);
  check_collections();
  if (inner_ != nullptr) update_source_ = inner_->updates_with(update_source_);
  created_for_ = std::make_unique<const Shape>(input_shape);
  if (reuses_variables_) return;
  for (const auto& variable : variables_) variable->set_trainable(traits_.trainable);
}

void Layer::connect(std::shared_ptr<const Communicator> control) {
  for (const auto& layer : inner_layers()) layer->connect(control);
  do_connect(*control);
  control_ = std::move(control);
}

void Layer::set_mode(Mode mode) {
  agree_on("mode", std::string(lockstep::name_of(mode)));
  mode_ = mode;
}

void Layer::set_trainable(bool is_trainable) {
  agree_on("trainable", is_trainable ? "true" : "false");
  freeze(is_trainable);
}

void Layer::agree_on(std::string_view setting, std::string value) const {
  if (!is_built()) return;
  const Property property{std::string(setting), std::move(value)};
  agree(*control_, {fmt::format("layer '{}'", name()), fmt::format("set_{}", setting), -1},
        {&property, 1});
}

void Layer::freeze(bool is_trainable) noexcept {
  traits_.trainable = is_trainable;
  for (const auto& variable : variables_) variable->set_trainable(is_trainable);
  if (inner_ != nullptr) inner_->freeze(is_trainable);
}

void Layer::commit(Tape& tape) noexcept {
  if (inner_ != nullptr) inner_->commit(tape);
}

void Layer::apply_updates() noexcept {
  while (update_source_ != nullptr && update_source_->next_update())
    update_source_->apply_next_update();
  if (inner_ != nullptr) inner_->apply_updates();
}

void Layer::merge_statistics() {
  for (const auto& layer : inner_layers()) layer->merge_statistics();
}

void Layer::add_appointments(Pass pass, Schedule& schedule) {
  if (inner_ != nullptr) inner_->add_appointments(pass, schedule);
}

void Layer::do_connect(const Communicator&) {}

InnerLayers& Layer::inner() {
  if (inner_ == nullptr) inner_ = std::make_unique<InnerLayers>();
  return *inner_;
}

void Layer::equip(Tape& tape) const {
  if (inner_ != nullptr) inner_->equip(tape);
}

std::span<const std::unique_ptr<Layer>> Layer::inner_layers() const noexcept {
  return inner_ == nullptr ? std::span<const std::unique_ptr<Layer>>() : inner_->all();
}

std::vector<Variable*> Layer::variables() {
  std::vector<Variable*> result;
  for (const auto& variable : variables_) result.push_back(variable.get());
  for (const auto& layer : inner_layers())
    for (Variable* variable : layer->variables())
      if (std::ranges::count(result, variable) == 0) result.push_back(variable);
  return result;
}

void Layer::rename(std::string name) {
  if (created_for_ != nullptr)
    throw StateError(fmt::format("layer '{}' cannot be renamed once built", traits_.name));
  if (inner_ != nullptr) inner_->rename(traits_.name, name);
  traits_.name = std::move(name);
  if (registry_ == nullptr) variable_scope_ = traits_.name;
}

bool Layer::takes_any_batch() const {
  return accepts(created_for_->with(0, (*created_for_)[0] + 1)) &&
         std::ranges::all_of(inner_layers(),
                             [](const auto& layer) { return layer->takes_any_batch(); });
}

bool Layer::accepts(const Shape& input_shape) const {
  return input_shape.rank() > 0 && input_shape == created_for_->with(0, input_shape[0]);
}

void Layer::check_call(const TensorView& input, const MutableTensorView& output) const {
  if (created_for_ == nullptr)
    throw StateError(fmt::format("layer '{}' is not built; call build() first", name()));
  input.check("the input");
  output.check("the output");
  if (!accepts(input.shape()))
    throw ArgumentError(fmt::format(
        "expected an input of shape {}{}, got {}", to_string(*created_for_),
        takes_any_batch() ? " with any number of samples" : "", to_string(input.shape())));
  if (input.dtype() != dtype() || output.dtype() != dtype())
    throw ArgumentError(fmt::format("expected {} tensors, got input {} and output {}",
                                    lockstep::name_of(dtype()), lockstep::name_of(input.dtype()),
                                    lockstep::name_of(output.dtype())));
  if (output.shape() != output_shape(input.shape()))
    throw ArgumentError(fmt::format("expected an output of shape {}, got {}",
                                    to_string(output_shape(input.shape())),
                                    to_string(output.shape())));
}

void Layer::check_gradients(const Shape& input, const TensorView& output_gradient,
                            const MutableTensorView& input_gradient) const {
  if (created_for_ == nullptr || !accepts(input))
    throw StateError(
        fmt::format("layer '{}' did not record this tape, whose input had the shape {}; use a tape "
                    "of this layer",
                    name(), to_string(input)));
  output_gradient.check("the output's gradient");
  if (output_gradient.dtype() != dtype() || output_gradient.shape() != output_shape(input))
    throw ArgumentError(fmt::format("expected an output gradient of {} {}, got {} {}",
                                    lockstep::name_of(dtype()), to_string(output_shape(input)),
                                    lockstep::name_of(output_gradient.dtype()),
                                    to_string(output_gradient.shape())));
  if (input_gradient.is_null()) return;
  input_gradient.check("the input's gradient");
  if (input_gradient.dtype() != dtype() || input_gradient.shape() != input)
    throw ArgumentError(fmt::format("expected an input gradient of {} {}, got {} {}",
                                    lockstep::name_of(dtype()), to_string(input),
                                    lockstep::name_of(input_gradient.dtype()),
                                    to_string(input_gradient.shape())));
}

}  // namespace lockstep
