// Batch renormalization: how far the batch's moments are from the moving ones.

#pragma once

#include <span>

#include "norm/affine.hpp"
#include "stats/moments.hpp"

namespace lockstep {

/// Limits of r and d.
struct RenormLimits {
  double rmin, rmax, dmax;
};

/// The link z = xhat * r + d per channel that follows the normalization by the batch's
/// moments:
///
///     r = clip(stddev / denominator, rmin, rmax)         stddev = sqrt(variance + epsilon)
///     d = clip((mean - renorm_mean) / denominator, -dmax, dmax)
///     denominator = max(renorm_stddev, sqrt(epsilon))
///
/// r = 1 and d = 0 where the set is empty. Ioffe: Batch renormalization, 2017.
void renormalize(std::span<const double> count, std::span<const double> mean,
                 std::span<const double> variance, double epsilon,
                 std::span<const double> renorm_mean, std::span<const double> renorm_stddev,
                 const RenormLimits& limits, std::span<double> r, std::span<double> d) noexcept;

}  // namespace lockstep
