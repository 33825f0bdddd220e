// Moments of a population on their way to the moving statistics of a layer.

#pragma once

#include <span>
#include <string>

#include "layers/moving_moments.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/population.hpp"

namespace lockstep {

/// What BatchNormalization::replace_moving_statistics() does, in two steps: all that may fail, and
/// what is done when no rank has failed. Local.
class StatisticsReplacement {
 public:
  /// Throws what replace_moving_statistics() throws.
  StatisticsReplacement(const BatchNormalization& layer, const LayerPopulation& population);

  void assign() noexcept;

 private:
  const BatchNormalization* layer_;
  MovingMoments moments_;
};

/// A text that is equal for populations of equal bits.
[[nodiscard]] std::string fingerprint_of(std::span<const LayerPopulation> populations);

}  // namespace lockstep
