// Names of the enumerations that options of batch normalization hold, as in their declarations.

#pragma once

#include <string_view>

#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep {

// "unknown" for what is no enumerator.
[[nodiscard]] std::string_view name_of(FrozenMode mode) noexcept;
[[nodiscard]] std::string_view name_of(MovingVariance kind) noexcept;
[[nodiscard]] std::string_view name_of(Updates updates) noexcept;
[[nodiscard]] std::string_view name_of(Nonfinite policy) noexcept;
[[nodiscard]] std::string_view name_of(Statistics statistics) noexcept;
[[nodiscard]] std::string_view name_of(GhostGrouping grouping) noexcept;
[[nodiscard]] std::string_view name_of(FusedRules rules) noexcept;

}  // namespace lockstep
