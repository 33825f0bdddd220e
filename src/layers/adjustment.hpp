// What an adjustment function returned, made ready for one call.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep {

/// a = z * scale + bias: per channel, or per element of the input.
struct AdjustmentValues {
  std::vector<double> channel_scale;  ///< [channels]; ones when it is per element, or not there
  std::vector<double> channel_bias;   ///< [channels]; zeros likewise
  std::vector<double> element_scale;  ///< [elements]; empty when it is per channel
  std::vector<double> element_bias;   ///< [elements]; empty likewise
  bool is_per_sample = false;         ///< a tensor has the extent of the batch along axis 0
  std::uint64_t fingerprint = 0;      ///< of the values; 0 without an adjustment

  /// No adjustment.
  void reset(std::size_t num_channels);

  /// Takes what the function returned for an input of `input_shape`. A tensor is broadcast as NumPy
  /// does it, but one axis with an element per channel always means channels. Where adjustments
  /// differ by rank, what has an axis for samples is per element, for any number of them. Throws
  /// ArgumentError for tensors that are not floating or cannot be broadcast to the input.
  void set(const Adjustment& adjustment, const Shape& input_shape, std::span<const int> axes,
           bool differs_by_rank);
};

}  // namespace lockstep
