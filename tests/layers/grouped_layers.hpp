// Layers that are merged in groups of channels.

#pragma once

#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep::testing {

inline constexpr std::int64_t global_batch = 7, num_channels = 6;
inline constexpr std::int64_t all_at_once = 0, one_channel = 1;
inline const Shape global_shape{global_batch, num_channels, 5, 31};

/// Options of a synchronized layer with groups of so many bytes.
[[nodiscard]] inline BatchNormalizationOptions options_of(std::int64_t group_bytes,
                                                          DType dtype = DType::float64) {
  return {.axis = 1,
          .beta_initializer = RandomNormal{.stddev = 0.3, .seed = 2},
          .gamma_initializer = RandomNormal{.mean = 1.0, .stddev = 0.3, .seed = 1},
          .channel_group_bytes = group_bytes,
          .synchronized = true,
          .dtype = dtype,
          .name = "norm"};
}

}  // namespace lockstep::testing
