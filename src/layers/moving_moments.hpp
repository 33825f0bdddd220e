// The moving statistics of a layer as moments of sets, on their way to other ones.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "layers/moving_statistics.hpp"
#include "lockstep/comm/communicator.hpp"
#include "stats/pooled_moments.hpp"

namespace lockstep {

/// Counts, means and variances that are to become the moving statistics of a layer. Nothing changes
/// before assign().
class MovingMoments {
 public:
  /// Reads what the variables say.
  explicit MovingMoments(const MovingVariables& variables);

  /// Of groups of ranks that have learned apart, those of all ranks. Two MPI_Allreduce. Collective.
  void merge(const Communicator& replicas, const Communicator& group);

  /// Of one population instead, [channels] each. With renorm, `added` is what its standard
  /// deviations have in addition to the variance.
  void replace_by(const MomentsView& population, double added) noexcept;

  /// The first channel whose moments the variables cannot hold.
  [[nodiscard]] std::optional<std::int64_t> first_unstorable() const noexcept;

  /// The variables take over the moments, for channels whose count is not 0. What later updates
  /// start from, besides mean and variance, follows from these.
  void assign(const BatchNormalizationOptions& options) noexcept;

  /// Before assign() of moments that no update led to: where there was no update so far, these
  /// count as one. Otherwise the next update would forget them.
  void count_one_update() noexcept;

 private:
  [[nodiscard]] std::span<double> moving(std::vector<double>& all) const noexcept;
  [[nodiscard]] std::span<double> renorm(std::vector<double>& all) const noexcept;
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
