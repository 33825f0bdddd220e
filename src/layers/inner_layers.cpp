#include "layers/inner_layers.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>

#include "layers/free_name.hpp"
#include "layers/within.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// Of several layers, in the order of the calls.
class JoinedUpdates final : public UpdateSource {
 public:
  explicit JoinedUpdates(std::vector<std::shared_ptr<UpdateSource>> sources)
      : sources_(std::move(sources)) {}

  std::optional<std::uint64_t> next_update() const noexcept override {
    const UpdateSource* const first = this->first();
    return first == nullptr ? std::nullopt : first->next_update();
  }

  void apply_next_update() noexcept override {
    if (UpdateSource* const first = this->first()) first->apply_next_update();
  }

 private:
  UpdateSource* first() const noexcept {
    UpdateSource* first = nullptr;
    for (const auto& source : sources_)
      if (source->next_update() &&
          (first == nullptr || *source->next_update() < *first->next_update()))
        first = source.get();
    return first;
  }

  std::vector<std::shared_ptr<UpdateSource>> sources_;
};

// A layer's name begins with the scopes that were open when it was made; those that its owner has
// too come once. One that is named after the owner already, as a copy is, keeps its name.
std::string name_within(const std::string& owner, const std::string& layer) {
  if (layer.starts_with(owner + '/')) return layer;
  const std::string scope = owner.substr(0, owner.rfind('/') + 1);
  return fmt::format("{}/{}", owner, layer.substr(layer.starts_with(scope) ? scope.size() : 0));
}

}  // namespace

std::uint64_t InnerLayers::next_number() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

void InnerLayers::Return::operator()(VariablePlace* left) const noexcept {
  const std::unique_ptr<VariablePlace> place(left);
  current_place() = std::move(*place);
}

auto InnerLayers::enter_scope_of(const Layer& owner) -> std::unique_ptr<VariablePlace, Return> {
  VariablePlace place{owner.registry_, owner.variable_scope_, owner.reuses_variables_,
                      std::make_shared<NameSet>()};
  std::unique_ptr<VariablePlace, Return> left(new VariablePlace(std::move(current_place())));
  current_place() = std::move(place);
  return left;
}

void InnerLayers::insert(std::size_t position, std::unique_ptr<Layer> layer) {
  layers_.insert(layers_.begin() + static_cast<std::ptrdiff_t>(position), std::move(layer));
}

void InnerLayers::adopt(Layer& owner, std::size_t position, std::unique_ptr<Layer> layer) {
  if (layer == nullptr) throw ArgumentError("a null pointer is no layer");
  if (owner.created_for_ != nullptr)
    throw StateError(fmt::format("layer '{}' has variables already; add layer '{}' before",
                                 owner.name(), layer->name()));
  const std::string full_name = name_within(owner.name(), layer->name());
  if (full_name != layer->name()) layer->rename(full_name);
  const std::string free_name = free_name_of(*layer, [&](const std::string& name) {
    return std::ranges::any_of(layers_, [&](const auto& other) { return other->name() == name; });
  });
  if (free_name != layer->name()) layer->rename(free_name);
  insert(position, std::move(layer));
}

void InnerLayers::create(const Layer& owner, Layer& layer, const Shape& input_shape,
                         DType dtype) const {
  within(layer, [&] {
    layer.make_variables(input_shape, dtype, owner.seed_);
    if (layer.dtype() != dtype)
      throw ArgumentError(fmt::format("it computes in {}, the layer around it in {}; give it none",
                                      name_of(layer.dtype()), name_of(dtype)));
  });
}

void InnerLayers::equip(Tape& tape) const {
  tape.inner_ = std::make_unique<InnerCalls>();
  tape.inner_->owner = number_;
  for (const auto& layer : layers_) tape.inner_->tapes.push_back(layer->make_tape());
}

void InnerLayers::rename(std::string_view old_owner, std::string_view new_owner) {
  forget_variables();  // an attempt to create the owner may have failed
  for (const auto& layer : layers_)
    layer->rename(fmt::format("{}{}", new_owner, layer->name().substr(old_owner.size())));
}

void InnerLayers::forget_variables() noexcept {
  for (const auto& layer : layers_) layer->created_for_.reset();
}

void InnerLayers::freeze(bool is_trainable) noexcept {
  for (const auto& layer : layers_) layer->freeze(is_trainable);
}

void InnerLayers::commit(Tape& tape) noexcept {
  const InnerCalls* const calls = calls_on(tape);
  if (calls == nullptr || !calls->has_call) return;
  for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->commit(*calls->tapes[i]);
}

void InnerLayers::apply_updates() noexcept {
  for (const auto& layer : layers_) layer->apply_updates();
}

void InnerLayers::add_appointments(Pass pass, Schedule& schedule) {
  const auto add = [&](const auto& layer) { layer->add_appointments(pass, schedule); };
  if (pass == Pass::forward)
    std::for_each(layers_.begin(), layers_.end(), add);
  else
    std::for_each(layers_.rbegin(), layers_.rend(), add);
}

std::shared_ptr<UpdateSource> InnerLayers::updates_with(std::shared_ptr<UpdateSource> own) const {
  std::vector<std::shared_ptr<UpdateSource>> sources;
  if (own != nullptr) sources.push_back(std::move(own));
  for (const auto& layer : layers_)
    if (layer->update_source_ != nullptr) sources.push_back(layer->update_source_);
  if (sources.empty()) return nullptr;
  return std::make_shared<JoinedUpdates>(std::move(sources));
}

InnerCalls* InnerLayers::calls_on(const Tape& tape) const noexcept {
  InnerCalls* const calls = tape.inner_.get();
  const bool is_own =
      calls != nullptr && calls->owner == number_ && calls->tapes.size() == layers_.size();
  return is_own ? calls : nullptr;
}

Mode InnerLayers::begin_forward(Layer& owner, const Call& call) {
  const Mode mode = owner.mode_of(call);
  if (mode == Mode::inference) return mode;
  if (!owner.is_built())
    throw StateError(
        fmt::format("layer '{}' is not built; call build() on all ranks", owner.name()));
  for (const auto& [pass, schedule] :
       {std::pair(Pass::forward, &forward_), std::pair(Pass::backward, &backward_)}) {
    schedule->clear();
    owner.add_appointments(pass, *schedule);
  }
  return mode;
}

// Forgets what the tape held before anything can fail: ranks must not differ in what they recorded.
Call InnerLayers::inner_call_of(const Layer& owner, const Call& call, Mode mode) {
  if (call.tape == nullptr && mode == Mode::training && call.commit == Commit::by_caller)
    throw ArgumentError("a training call that the caller commits needs a tape");
  if (call.tape == nullptr && own_tape_ == nullptr) own_tape_ = owner.make_tape();
  Call inner = call;
  inner.tape = call.tape == nullptr ? own_tape_.get() : call.tape;
  inner.mode = mode;
  inner.commit = Commit::by_caller;
  inner.residual = {};
  InnerCalls* const calls = calls_on(*inner.tape);
  if (calls == nullptr) refuse(owner, *inner.tape);
  calls->has_call = false;
  calls->step = call.step;
  calls->backward.clear();
  if (mode == Mode::training) calls->backward = backward_;
  return inner;
}

void InnerLayers::finish_forward(Layer& owner, const Call& inner, Commit commit) const noexcept {
  calls_on(*inner.tape)->has_call = true;
  if (commit == Commit::at_once) owner.commit(*inner.tape);
}

InnerCalls* InnerLayers::begin_backward(const Layer& owner, Tape& tape) const {
  if (!owner.is_built())
    throw StateError(
        fmt::format("layer '{}' is not built; call build() on all ranks", owner.name()));
  InnerCalls* const calls = calls_on(tape);
  return calls != nullptr && calls->has_call ? calls : nullptr;
}

void InnerLayers::refuse(const Layer& owner, const Tape& tape) const {
  if (calls_on(tape) == nullptr)
    throw StateError(fmt::format(
        "layer '{}' was given another layer's tape; use one of its own make_tape()", owner.name()));
  throw StateError(fmt::format(
      "the tape given to layer '{}' recorded no call; pass it to forward() before backward()",
      owner.name()));
}

Meeting InnerLayers::place_of(const Layer& owner, const char* phase, std::int64_t step) {
  return {fmt::format("layer '{}'", owner.name()), phase, step};
}

void InnerLayers::forward_through(std::size_t position, const TensorView& input,
                                  const MutableTensorView& output, const Call& call) const {
  Layer& layer = *layers_[position];
  within(layer, [&] {
    Call own = call;
    own.tape = &tape_of(position, *call.tape);
    layer.forward(input, output, own);
  });
}

void InnerLayers::backward_through(std::size_t position, Tape& tape,
                                   const TensorView& output_gradient,
                                   const MutableTensorView& input_gradient,
                                   Gradients gradients) const {
  Layer& layer = *layers_[position];
  within(layer, [&] {
    layer.backward(tape_of(position, tape), output_gradient, input_gradient, gradients);
  });
}

Tape& InnerLayers::tape_of(std::size_t position, Tape& tape) const noexcept {
  return *calls_on(tape)->tapes[position];
}

}  // namespace lockstep
