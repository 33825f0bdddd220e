// The moving statistics of groups of ranks, pooled for as long as a model is evaluated.

#pragma once

#include <utility>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// As long as this lives the layers of a model have on all ranks the statistics that
/// BatchNormalization::merge_statistics() makes, deferred updates left out; then again those that
/// they had, so that an evaluation changes nothing that is learned later. Nothing is sent where all
/// replicas learn together.
class PooledStatistics {
 public:
  /// Throws, on all ranks alike, what merging throws; the model is then as it was. Collective.
  explicit PooledStatistics(Sequential& model);

 private:
  // Puts back what was there also when merging fails half way.
  struct Kept {
    Kept() = default;
    ~Kept();
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

    std::vector<std::pair<Variable*, Tensor>> values;
  };

  Kept kept_;
};

}  // namespace lockstep
