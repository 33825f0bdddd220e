// Updates of variables that are collected first and made later.

#pragma once

#include <cstdint>
#include <optional>
#include <ranges>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Holds updates that were collected and are not made yet, in the order in which they came.
class LOCKSTEP_EXPORT UpdateSource {
 public:
  virtual ~UpdateSource();

  /// The number, from next_update_number(), of the update that is due; empty when there is none.
  [[nodiscard]] virtual std::optional<std::uint64_t> next_update() const noexcept = 0;

  /// Makes that update and forgets it; nothing when there is none.
  virtual void apply_next_update() noexcept = 0;
};

/// A number above all that this process has had before: the place of an update among those of all
/// sources. To be drawn when the update is collected.
[[nodiscard]] LOCKSTEP_EXPORT std::uint64_t next_update_number() noexcept;

/// Makes the updates of several sources in the order in which they were collected, which matters
/// where sources share variables. `source_of(element)` is a pointer to a source, or null.
template <std::ranges::forward_range Range, class SourceOf>
void apply_in_order(const Range& range, SourceOf source_of) noexcept {
  while (true) {
    UpdateSource* first = nullptr;
    for (const auto& element : range) {
      UpdateSource* const source = source_of(element);
      if (source == nullptr || !source->next_update()) continue;
      if (first == nullptr || *source->next_update() < *first->next_update()) first = source;
    }
    if (first == nullptr) return;
    first->apply_next_update();
  }
}

}  // namespace lockstep
