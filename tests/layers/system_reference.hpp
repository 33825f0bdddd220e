// What a system with given conventions computes, straightforwardly, and layers compared with it.

#pragma once

#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep::testing {

/// Conventions of a system, in words of its own formula
/// moving = old_weight * moving + (1 - old_weight) * batch.
struct System {
  double old_weight = 0.0;
  double epsilon = 0.0;
  bool is_unbiased = false;  ///< the variance that is averaged
  int channel_axis = 1;      ///< from the front
};

/// Largest deviation, relative, of a float64 layer of `options` from `system` over two training
/// steps and an inference call on random inputs of `shape`: outputs and moving statistics. Gamma
/// and beta are as they were made.
[[nodiscard]] double deviation_from(const System& system, BatchNormalizationOptions options,
                                    const Shape& shape);

}  // namespace lockstep::testing
