// How channels lie in memory.

#pragma once

#include <cstdint>

namespace lockstep {

/// Elements [outer, channels, inner], row-major: channel c owns outer runs of `inner` elements.
/// Channels innermost means inner = 1, one image plane per run means inner = height * width.
struct Columns {
  std::int64_t outer = 0;
  std::int64_t channels = 0;
  std::int64_t inner = 0;

  [[nodiscard]] std::int64_t num_per_channel() const noexcept { return outer * inner; }
};

}  // namespace lockstep
