// Moving statistics that groups of ranks have learned apart, as those of all ranks.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "layers/moving_statistics.hpp"
#include "lockstep/comm/communicator.hpp"
#include "stats/pooled_moments.hpp"

namespace lockstep {

/// One merge of the moving statistics of a layer. Nothing changes before assign().
class MergedStatistics {
 public:
  /// Reads what this rank's group knows.
  explicit MergedStatistics(const MovingVariables& variables);

  /// Two MPI_Allreduce. Collective.
  void merge(const Communicator& replicas, const Communicator& group);

  /// The first channel whose merged statistics the variables cannot hold.
  [[nodiscard]] std::optional<std::int64_t> first_unstorable() const noexcept;

  /// The variables take over what was merged, for channels that some group knows. What later
  /// updates start from, besides mean and variance, follows from these.
  void assign(const BatchNormalizationOptions& options) noexcept;

 private:
  void assign_renorm(double epsilon) noexcept;
  void assign_biased_mean(double momentum) noexcept;
  void assign(Variable& variable, std::span<const double> values) noexcept;

  MovingVariables variables_;
  std::size_t num_channels_;
  // [channels], with renorm followed by as many of its own; the variance is then stddev^2.
  std::vector<double> count_, mean_, variance_;
  PooledMoments pool_;
  std::vector<double> values_, old_values_;  // scratch, [channels]
};

}  // namespace lockstep
