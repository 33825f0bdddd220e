// What batch normalization remembers of earlier batches.

#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/params/update_source.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// What one call learned, on its way to the moving statistics; all [channels].
struct MovingUpdate {
  std::uint64_t number = 0;      ///< its place among all updates, once it is deferred
  std::vector<double> count;     ///< elements of the batch
  std::vector<double> mean;      ///< of the batch
  std::vector<double> variance;  ///< of the batch, as it is to be averaged

  void resize(std::size_t num_channels);
};

/// Updates in the order of their calls. A list: handing one on neither throws nor allocates.
using MovingUpdates = std::list<MovingUpdate>;

/// Variables of the moving statistics, [channels] but for two scalars.
struct MovingVariables {
  Variable* mean = nullptr;
  Variable* variance = nullptr;
  Variable* num_updates = nullptr;    ///< int64 scalar
  Variable* num_elements = nullptr;   ///< float64: how many went into the statistics
  Variable* biased_mean = nullptr;    ///< with zero_debias_moving_mean only
  Variable* local_step = nullptr;     ///< scalar; likewise
  Variable* stddev = nullptr;         ///< with renorm only
  Variable* renorm_mean = nullptr;    ///< likewise
  Variable* renorm_stddev = nullptr;  ///< likewise
};

/// Applies updates to moving statistics, at once or later.
class MovingStatistics final : public UpdateSource {
 public:
  MovingStatistics(const BatchNormalizationOptions& options, const MovingVariables& variables);

  [[nodiscard]] const MovingVariables& variables() const noexcept { return variables_; }

  void set_momentum(std::optional<double> momentum) noexcept { options_.momentum = momentum; }

  /// Makes the update. A channel whose statistics are not finite, or too large for the variables,
  /// is skipped unless the policy is Nonfinite::warn; one without elements is skipped.
  void apply(const MovingUpdate& update) noexcept;

  /// Keeps the one update of the list for apply_next_update().
  void defer(MovingUpdates& update) noexcept;
  [[nodiscard]] std::optional<std::uint64_t> next_update() const noexcept override;
  void apply_next_update() noexcept override;

  /// Makes sure that the list has one update with room for all channels.
  void provide(MovingUpdates& update);

 private:
  void choose_channels(const MovingUpdate& update) noexcept;
  void average(Variable& average, std::span<const double> batch, double momentum) noexcept;
  void average_without_bias(std::span<const double> batch, double momentum) noexcept;
  void average_renorm(const MovingUpdate& update, double momentum) noexcept;

  BatchNormalizationOptions options_;
  MovingVariables variables_;
  MovingUpdates deferred_;              // in their order
  MovingUpdates spare_;                 // memory for further updates
  std::vector<char> is_updated_;        // by this update, [channels]
  std::vector<double> values_, batch_;  // scratch, [channels]
};

}  // namespace lockstep
