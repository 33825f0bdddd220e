#include "lockstep/parallel/synchronization_group.hpp"

#include <spdlog/fmt/fmt.h>

#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void validate(const SynchronizationGroup& group) {
  if (const auto* by_size = std::get_if<BySize>(&group); by_size != nullptr && by_size->size < 1)
    throw ArgumentError(fmt::format(
        "the size of a synchronization group is {}; it must be at least 1", by_size->size));
  if (const auto* by_color = std::get_if<ByColor>(&group);
      by_color != nullptr && by_color->color < 0)
    throw ArgumentError(fmt::format(
        "the color of a synchronization group is {}; it must not be negative", by_color->color));
}

Communicator part_of(const SynchronizationGroup& group, const Communicator& replicas) {
  if (std::holds_alternative<ByNode>(group)) return replicas.split_by_node();
  if (const auto* by_size = std::get_if<BySize>(&group))
    return replicas.split(replicas.rank() / by_size->size);
  if (const auto* by_color = std::get_if<ByColor>(&group)) return replicas.split(by_color->color);
  return replicas.dup();
}

}  // namespace

Communicator group_of(const SynchronizationGroup& group, const Communicator& replicas,
                      const std::string& whose) {
  const Property kind{"kind", to_string(group)};
  agree(replicas, {whose, "synchronization group"}, {&kind, 1}, attempt([&] { validate(group); }));
  if (replicas.is_solo()) return {};
  Communicator part = part_of(group, replicas);
  if (part.is_solo()) return {};
  return part;
}

std::string to_string(const SynchronizationGroup& group) {
  if (std::holds_alternative<ByNode>(group)) return "by node";
  if (const auto* by_size = std::get_if<BySize>(&group))
    return fmt::format("by size {}", by_size->size);
  if (std::holds_alternative<ByColor>(group)) return "by color";
  return "all replicas";
}

}  // namespace lockstep
