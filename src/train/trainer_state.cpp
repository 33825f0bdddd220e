// The state of a training, to tensors and back.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/train/trainer.hpp"
#include "model/pooled_statistics.hpp"
#include "train/group_statistics.hpp"
#include "train/misfits.hpp"
#include "train/throw_on_all.hpp"
#include "train/trainer_parts.hpp"

namespace lockstep {
namespace {

void check_updates_made(Sequential& model) {
  for (Layer* layer : model.layers())
    if (layer->update_source() != nullptr && layer->update_source()->next_update())
      throw StateError(fmt::format(
          "layer '{}' has deferred updates; make them by apply_updates() first", layer->name()));
}

std::string fingerprint_of(const TrainingState& state) {
  RandomKey key(state.size());
  for (const auto& [name, tensor] : state) {
    const auto bytes = bytes_of(TensorView(tensor));
    key = key.with(name).with(
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  return fmt::format("{:016x}", key.bits(0));
}

// Values on their way to where they belong.
class Plan {
 public:
  explicit Plan(const TrainingState& state) : misfits_(state) {}

  [[nodiscard]] Misfits& misfits() noexcept { return misfits_; }

  void add(const std::string& name, const MutableTensorView& target) {
    if (const Tensor* source = misfits_.expect(name, target.shape(), target.dtype()))
      copies_.emplace_back(source, target);
  }

  // In the order in which they were added.
  void carry_out() const noexcept {
    for (const auto& [source, target] : copies_) copy_bytes(*source, target);
  }

 private:
  Misfits misfits_;
  std::vector<std::pair<const Tensor*, MutableTensorView>> copies_;
};

bool has_groups_of(const TrainingState& state, const DividedLayer& divided) {
  const auto found = state.find(groups_name_of(divided));
  return found != state.end() && found->second.dtype() == DType::int64 &&
         found->second.shape() == divided.leaders.shape() &&
         std::ranges::equal(found->second.values<std::int64_t>(),
                            divided.leaders.values<std::int64_t>());
}

// After the variables' own values come those of this rank's group.
void add_group_statistics(const DividedLayer& divided, int rank, Plan& plan) {
  for (const std::int64_t leader : divided.leaders.values<std::int64_t>())
    for (Variable* variable : divided.variables) {
      const std::string name = group_name_of(leader, *variable);
      if (leader == divided.leader_of(rank))
        plan.add(name, variable->value());
      else
        plan.misfits().expect(name, variable->shape(), variable->dtype());
    }
}

// What all have seen together is shared out to groups that were not there, so that no later merge
// counts it twice.
void share_counts(const DividedLayer& divided) noexcept {
  for (Variable* variable : divided.variables)
    if (is_element_count(*variable))
      for (double& count : variable->value().values<double>())
        count /= static_cast<double>(divided.num_groups());
}

}  // namespace

void Trainer::Parts::prepare_for_state() {
  if (!model.is_built())
    agree(replicas(), {"trainer", "state", -1}, {},
          Failure{ErrorCode::state,
                  fmt::format("model '{}' is not built; its training has a state after build()",
                              model.name())});
  prepare(model.sample_shape()->prepended(1));
}

void Trainer::Parts::write_state(TrainingState& state) {
  for (const Variable* variable : variables)
    state.try_emplace(variable->name(), Tensor::copy_of(variable->value()));
  for (const Optimizer::State& entry : optimizer->state())
    state["optimizer:" + entry.name] = *entry.value;
  Progress progress{num_steps, position, options.seed, optimizer->schedule()};
  if (loss_scale) progress.loss_scale = {loss_scale->value(), loss_scale->num_good_steps()};
  write_progress(progress, state);
}

void Trainer::Parts::go_on_from(Progress progress) {
  num_steps = progress.num_steps;
  position = std::move(progress.position);
  options.seed = progress.seed;
  optimizer->set_learning_rate(progress.learning_rate);
  if (loss_scale)
    loss_scale->restore(progress.loss_scale->scale, progress.loss_scale->num_good_steps);
}

TrainingState Trainer::state() {
  Parts& parts = *parts_;
  parts.require(Activity::meeting_callbacks, "state()");
  parts.prepare_for_state();
  const Communicator& replicas = parts.replicas();
  const Meeting meeting{"trainer", "state", parts.num_steps};
  agree(replicas, meeting, {}, attempt([&] { check_updates_made(parts.model); }));

  TrainingState state;
  add_group_statistics(replicas, divided_layers_of(parts.model), state);
  const PooledStatistics pooled(parts.model);
  const auto failure = attempt([&] {
    if (replicas.rank() == 0)
      parts.write_state(state);
    else
      state.clear();
  });
  agree(replicas, meeting, {}, failure);
  return state;
}

void Trainer::restore(const TrainingState& state) {
  Parts& parts = *parts_;
  parts.require(Activity::none, "restore()");
  parts.prepare_for_state();
  const Communicator& replicas = parts.replicas();
  const std::vector<DividedLayer> divided = divided_layers_of(parts.model);

  Plan plan(state);
  Progress progress;
  std::string misfits, fingerprint;
  std::vector<const DividedLayer*> new_groups;
  const auto failure = attempt([&] {
    for (const auto& entry : state)
      if (is_of_groups(entry.first)) plan.misfits().allow(entry.first);
    for (Variable* variable : parts.variables) plan.add(variable->name(), variable->value());
    for (const DividedLayer& part : divided) {
      if (has_groups_of(state, part))
        add_group_statistics(part, replicas.rank(), plan);
      else
        new_groups.push_back(&part);
    }
    for (const Optimizer::State& entry : parts.optimizer->state())
      plan.add("optimizer:" + entry.name, *entry.value);
    progress = read_progress(state, parts.loss_scale.has_value(), plan.misfits());
    misfits = plan.misfits().text();
    fingerprint = fingerprint_of(state);
  });
  const Meeting meeting{"trainer", "restore", -1};
  agree(replicas, meeting, std::array{Property{"state", fingerprint}}, failure);
  if (!misfits.empty())
    throw_on_all(replicas, meeting, ErrorCode::data,
                 "the state does not fit this training: " + misfits);

  plan.carry_out();
  for (const DividedLayer* part : new_groups) share_counts(*part);
  parts.go_on_from(std::move(progress));
}

}  // namespace lockstep
