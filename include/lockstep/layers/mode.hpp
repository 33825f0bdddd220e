// The two ways in which a layer computes.

#pragma once

#include <cstdint>
#include <string_view>

namespace lockstep {

enum class Mode : std::uint8_t { training, inference };

/// "training"; "unknown" for what is no mode.
[[nodiscard]] constexpr std::string_view name_of(Mode mode) noexcept {
  switch (mode) {
    case Mode::training:
      return "training";
    case Mode::inference:
      return "inference";
  }
  return "unknown";
}

}  // namespace lockstep
