#include "norm/renorm.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep {

void renormalize(std::span<const double> count, std::span<const double> mean,
                 std::span<const double> variance, double epsilon,
                 std::span<const double> renorm_mean, std::span<const double> renorm_stddev,
                 const RenormLimits& limits, std::span<double> r, std::span<double> d) noexcept {
  for (std::size_t c = 0; c < mean.size(); ++c) {
    r[c] = 1.0;
    d[c] = 0.0;
    if (!(count[c] > 0.0)) continue;
    const double denominator = std::max(renorm_stddev[c], std::sqrt(epsilon));
    const double stddev = std::sqrt(variance[c] + epsilon);
    r[c] = std::clamp(stddev / denominator, limits.rmin, limits.rmax);
    d[c] = std::clamp((mean[c] - renorm_mean[c]) / denominator, -limits.dmax, limits.dmax);
  }
}

}  // namespace lockstep
