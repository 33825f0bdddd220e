// Which ranks a batch normalization layer shares its statistics with, how that changes, and what
// the groups have learned together.

#include <spdlog/fmt/fmt.h>

#include <optional>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "comm/agreement.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/moving_moments.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {

const Communicator& BatchNormalization::statistics_group() const {
  require_built();
  return parts_->forward->group();
}

void BatchNormalization::do_connect(const Communicator& replicas) {
  connect(group_among(replicas, options_.synchronized, "build"), replicas);
}

// Groups may be of different sizes, so that only some ranks see that theirs cannot be.
Communicator BatchNormalization::group_among(const Communicator& replicas, bool is_synchronized,
                                             const char* phase) const {
  if (!is_synchronized) return {};
  const std::string who = fmt::format("layer '{}'", name());
  Communicator group = group_of(options_.synchronization_group, replicas, who);
  if (parts_->axes.front() != 0) return group;
  std::optional<Failure> failure;
  if (!group.is_solo())
    failure = Failure{ErrorCode::argument,
                      fmt::format("the batch axis cannot be the channel axis when synchronized "
                                  "over {} ranks",
                                  group.size())};
  agree(replicas, {who, phase}, {}, failure);
  return group;
}

void BatchNormalization::connect(const Communicator& group, const Communicator& replicas) {
  Exchange forward = parts_->make_exchange(Pass::forward, name(), group);
  Exchange backward = parts_->make_exchange(Pass::backward, name(), group);
  parts_->forward = std::move(forward);
  parts_->backward = std::move(backward);
  parts_->group_is_all = group.size() == replicas.size();
  parts_->may_divide = parts_->can_divide(options_, created_for());
}

void BatchNormalization::set_synchronized(bool is_synchronized) {
  const Communicator group = prepare_synchronized(is_synchronized);
  finish_synchronized(is_synchronized, group);
}

Communicator BatchNormalization::prepare_synchronized(bool is_synchronized) const {
  const Meeting meeting{fmt::format("layer '{}'", name()), "set_synchronized"};
  const auto failure = attempt([&] {
    BatchNormalizationOptions changed = options_;
    changed.synchronized = is_synchronized;
    if (is_created()) validate(changed, created_for());
    if (is_built()) require_updates_made();
  });
  if (!is_built()) {
    if (failure)
      throw_error(failure->code,
                  fmt::format("{}, {}: {}", meeting.layer, meeting.phase, failure->cause));
    return {};
  }
  const Property property{"synchronized", is_synchronized ? "true" : "false"};
  agree(control(), meeting, {&property, 1}, failure);
  return group_among(control(), is_synchronized, "set_synchronized");
}

// Ranks that come together need one center K and one set of statistics.
void BatchNormalization::finish_synchronized(bool is_synchronized, const Communicator& group) {
  if (options_.synchronized == is_synchronized) return;
  options_.synchronized = is_synchronized;
  if (!is_built()) return;
  connect(group, control());
  for (Variable* variable : variables())
    if (variable->role() != VariableRole::parameter)
      broadcast(group, bytes_of(variable->value()), 0);
  parts_->number = Parts::next_number();  // tapes are of calls in the group before
}

void BatchNormalization::require_updates_made() const {
  if (parts_->moving != nullptr && parts_->moving->next_update())
    throw StateError("it has deferred updates; make them by apply_updates() first");
}

void BatchNormalization::merge_statistics() {
  require_built();
  if (!learns_apart()) return;
  pool_statistics(attempt([&] { require_updates_made(); }));
}

bool BatchNormalization::learns_apart() const noexcept {
  return is_built() && !parts_->group_is_all && parts_->moving != nullptr;
}

void BatchNormalization::pool_statistics(std::optional<Failure> failure) {
  const Meeting meeting{fmt::format("layer '{}'", name()), "merge_statistics"};
  std::optional<MovingMoments> merged;
  if (!failure) failure = attempt([&] { merged.emplace(parts_->moving->variables()); });
  agree(control(), meeting, {}, failure);
  merged->merge(control(), statistics_group());
  if (options_.nonfinite != Nonfinite::warn)
    if (const auto channel = merged->first_unstorable())
      throw_agreed(control(), meeting,
                   Failure{ErrorCode::non_finite,
                           fmt::format("the merged moving statistics overflow {}",
                                       name_of(parts_->moving->variables().mean->dtype())),
                           *channel});
  merged->assign(options_);
}

}  // namespace lockstep
