// What batch normalization remembers of earlier batches.

#pragma once

#include <list>
#include <span>
#include <vector>

#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// What one call learned, on its way to the moving statistics.
struct MovingUpdate {
  std::vector<double> mean;      ///< of the batch, [channels]
  std::vector<double> variance;  ///< biased, [channels]
  double count = 0.0;            ///< elements per channel
};

/// Updates in the order of their calls. A list: handing one on neither throws nor allocates.
using MovingUpdates = std::list<MovingUpdate>;

/// What the biased variance of `count` elements is multiplied by before it is averaged.
[[nodiscard]] double variance_correction(const BatchNormalizationOptions& options,
                                         double count) noexcept;

/// Variables of the moving statistics, [channels] but for two scalars.
struct MovingVariables {
  Variable* mean = nullptr;
  Variable* variance = nullptr;
  Variable* num_updates = nullptr;    ///< int64 scalar
  Variable* biased_mean = nullptr;    ///< with zero_debias_moving_mean only
  Variable* local_step = nullptr;     ///< scalar; likewise
  Variable* stddev = nullptr;         ///< with renorm only
  Variable* renorm_mean = nullptr;    ///< likewise
  Variable* renorm_stddev = nullptr;  ///< likewise
};

/// Applies updates to moving statistics.
class MovingStatistics {
 public:
  MovingStatistics(const BatchNormalizationOptions& options, const MovingVariables& variables);

  [[nodiscard]] const MovingVariables& variables() const noexcept { return variables_; }

  /// Makes the update. A channel whose statistics are not finite, or too large for the variables,
  /// is skipped unless the policy is Nonfinite::warn. An empty set changes nothing.
  void apply(const MovingUpdate& update) noexcept;

 private:
  void choose_channels(const MovingUpdate& update) noexcept;
  void average(Variable& average, std::span<const double> batch, double momentum) noexcept;
  void average_without_bias(std::span<const double> batch, double momentum) noexcept;
  void average_renorm(const MovingUpdate& update, double momentum) noexcept;

  BatchNormalizationOptions options_;
  MovingVariables variables_;
  std::vector<char> is_updated_;        // by this update, [channels]
  std::vector<double> values_, batch_;  // scratch, [channels]
};

}  // namespace lockstep
