// Which ranks share their batch statistics, where that is not all of them.

#pragma once

#include <string>
#include <variant>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// All ranks that hold replicas of the model.
struct AllReplicas {
  friend bool operator==(const AllReplicas&, const AllReplicas&) = default;
};
/// The ranks on the same machine.
struct ByNode {
  friend bool operator==(const ByNode&, const ByNode&) = default;
};
/// Consecutive ranks, `size` of them; what remains at the end is a smaller group.
struct BySize {
  int size = 1;

  friend bool operator==(const BySize&, const BySize&) = default;
};
/// The ranks that give the same color; it may differ by rank.
struct ByColor {
  int color = 0;

  friend bool operator==(const ByColor&, const ByColor&) = default;
};

using SynchronizationGroup = std::variant<AllReplicas, ByNode, BySize, ByColor>;

/// The group of this rank among `replicas`, in their order; of a single rank it is solo. When one
/// rank fails or differs all throw the same error, which says `whose` group it is: ArgumentError
/// for a size below 1 or a negative color, MismatchError for other kinds or sizes. Collective.
[[nodiscard]] LOCKSTEP_EXPORT Communicator group_of(const SynchronizationGroup& group,
                                                    const Communicator& replicas,
                                                    const std::string& whose = "strategy");

/// The kind of group in words, without what may differ by rank: "by size 4", "by color".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const SynchronizationGroup& group);

}  // namespace lockstep
