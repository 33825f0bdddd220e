// A few points in three classes, for trainings that take no time.

#pragma once

#include "lockstep/train/synthetic.hpp"

namespace lockstep::testing {

/// 30 points of 4 features.
inline const SyntheticBlobs& blobs() {
  static const SyntheticBlobs data({.num_samples = 30, .num_classes = 3, .num_features = 4});
  return data;
}

}  // namespace lockstep::testing
