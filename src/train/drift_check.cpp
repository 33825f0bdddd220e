#include "lockstep/train/drift_check.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/fingerprint.hpp"
#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "model/normalizations.hpp"
#include "train/trainer_parts.hpp"

namespace lockstep {
namespace {

// What ranks compare of a tensor: its bits, and who shares them, by the lowest of those ranks.
struct Print {
  std::uint64_t bits;
  std::int64_t leader;
};

// A tensor by its name, with the ranks that share it.
struct Shared {
  std::string name;
  std::uint64_t bits;
  const Communicator* group;
};

const BatchNormalization* owner_of(const Variable& variable,
                                   const std::vector<BatchNormalization*>& layers) {
  const auto owner = std::ranges::find_if(layers, [&](BatchNormalization* layer) {
    return std::ranges::count(layer->variables(), &variable) > 0;
  });
  return owner == layers.end() ? nullptr : *owner;
}

// Nobody knows which ranks share the statistics of other layers.
std::vector<Shared> shared_tensors_of(Sequential& model, Optimizer& optimizer) {
  const Communicator& replicas = model.strategy().replicas();
  const std::vector<BatchNormalization*> layers = normalizations_of(model);
  std::vector<Shared> tensors;
  for (const Variable* variable : model.variables()) {
    const Communicator* group = &replicas;
    if (variable->role() != VariableRole::parameter) {
      const BatchNormalization* owner = owner_of(*variable, layers);
      if (owner == nullptr) continue;
      if (owner->statistics_group().size() < replicas.size()) group = &owner->statistics_group();
    }
    tensors.push_back({variable->name(), fingerprint_of(bytes_of(variable->value())), group});
  }
  for (const Optimizer::State& state : optimizer.state())
    tensors.push_back({state.name, fingerprint_of(bytes_of(TensorView(*state.value))), &replicas});
  return tensors;
}

// The tensors of one group, all at once.
std::uint64_t print_of(const std::vector<Shared>& tensors, const Communicator& group) {
  std::vector<std::uint64_t> bits;
  for (const Shared& tensor : tensors)
    if (tensor.group == &group) bits.push_back(tensor.bits);
  return fingerprint_of(std::as_bytes(std::span(bits)));
}

struct Verdict {
  bool is_same;
  std::int64_t leader;  // lowest of the group's ranks, by their numbers among the replicas
};

// max(x) = ~max(~x) exactly when all x are equal: ~ reverses the order.
Verdict compare(const Communicator& group, std::uint64_t print, bool is_well, int rank) {
  const auto number = static_cast<std::int64_t>(print);
  std::array<std::int64_t, 4> words{number, ~number, is_well ? 0 : 1, -std::int64_t{rank}};
  allreduce(group, words, Reduction::maximum);
  return {words[0] == ~words[1] && words[2] == 0, -words[3]};
}

std::string text_of(const std::vector<int>& ranks) {
  constexpr std::size_t num_shown = 8;
  const std::span shown = std::span(ranks).first(std::min(ranks.size(), num_shown));
  return fmt::format("rank{} {}{}", ranks.size() == 1 ? "" : "s", fmt::join(shown, ", "),
                     ranks.size() > num_shown ? ", ..." : "");
}

// A tensor that ranks which share it do not have alike.
struct Drift {
  std::vector<int> guilty;  // those without the bits of most; all where there are none
  std::vector<int> others;
};

// `prints` are one tensor's, of all ranks.
std::optional<Drift> drift_of(const std::vector<Print>& prints) {
  const auto num_ranks = static_cast<int>(prints.size());
  for (int leader = 0; leader < num_ranks; ++leader) {
    std::vector<int> group;
    for (int rank = 0; rank < num_ranks; ++rank)
      if (prints[static_cast<std::size_t>(rank)].leader == leader) group.push_back(rank);
    const auto bits_of = [&](int rank) { return prints[static_cast<std::size_t>(rank)].bits; };
    const auto num_like = [&](int rank) {
      return 2 * std::ranges::count_if(group, [&](int r) { return bits_of(r) == bits_of(rank); });
    };
    Drift drift;
    for (const int rank : group)
      (num_like(rank) > std::ssize(group) ? drift.others : drift.guilty).push_back(rank);
    if (!drift.guilty.empty()) return drift;
  }
  return std::nullopt;
}

// All ranks say the same, and one of those whose bits are another's speaks.
[[noreturn]] void throw_drift(const Communicator& replicas, const Meeting& meeting,
                              const std::vector<Shared>& tensors,
                              const std::vector<Print>& prints) {
  std::vector<Print> all(prints.size() * static_cast<std::size_t>(replicas.size()));
  allgather(replicas, std::as_bytes(std::span(prints)), std::as_writable_bytes(std::span(all)));
  std::optional<Drift> first;
  std::string name;
  std::int64_t num_different = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<Print> of_ranks;
    for (std::size_t at = i; at < all.size(); at += tensors.size()) of_ranks.push_back(all[at]);
    const auto drift = drift_of(of_ranks);
    if (!drift) continue;
    ++num_different;
    if (first) continue;
    first = drift;
    name = tensors[i].name;
  }
  const std::string who = first->others.empty()
                              ? fmt::format("differs between {}", text_of(first->guilty))
                              : fmt::format("of {} differs from that of {}", text_of(first->guilty),
                                            text_of(first->others));
  std::optional<Failure> failure;
  if (replicas.rank() == first->guilty.front())
    failure = Failure{ErrorCode::mismatch,
                      fmt::format("replicas have drifted apart: '{}' {}; {} of {} tensors differ",
                                  name, who, num_different, tensors.size())};
  throw_agreed(replicas, meeting, failure);
}

}  // namespace

void Trainer::Parts::check_replicas() {
  const Meeting meeting{"trainer", "drift check", num_steps};
  std::vector<Shared> tensors;
  std::vector<Print> prints;
  const auto failure = attempt([&] {
    tensors = shared_tensors_of(model, *optimizer);
    for (const Shared& tensor : tensors) prints.push_back({tensor.bits, 0});
  });
  agree(replicas(), meeting, {}, failure);

  const int rank = replicas().rank();
  bool is_well = true;
  const Communicator* compared = &replicas();
  Verdict verdict{true, 0};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Communicator* group = tensors[i].group;
    if (group == &replicas()) continue;
    if (group != compared) verdict = compare(*group, print_of(tensors, *group), true, rank);
    compared = group;
    is_well = is_well && verdict.is_same;
    prints[i].leader = verdict.leader;
  }
  if (!compare(replicas(), print_of(tensors, replicas()), is_well, rank).is_same)
    throw_drift(replicas(), meeting, tensors, prints);
}

void check_replicas(Trainer& trainer) {
  Trainer::Parts& parts = *trainer.parts_;
  parts.require(Activity::meeting_callbacks, "check_replicas()");
  if (!parts.model.is_built())
    throw StateError(fmt::format("model '{}' is not built; replicas can be compared after build()",
                                 parts.model.name()));
  parts.check_replicas();
}

}  // namespace lockstep
