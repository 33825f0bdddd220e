// The two ways in which a layer computes.

#pragma once

#include <cstdint>
#include <string_view>

namespace lockstep {

enum class Mode : std::uint8_t { training, inference };

/// "training".
[[nodiscard]] constexpr std::string_view name_of(Mode mode) noexcept {
  return mode == Mode::training ? "training" : "inference";
}

}  // namespace lockstep
