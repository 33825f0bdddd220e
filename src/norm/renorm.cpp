#include "norm/renorm.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep {

void renormalize(const Moments& moments, std::span<const double> mean, double epsilon,
                 std::span<const double> renorm_mean, std::span<const double> renorm_stddev,
                 const RenormLimits& limits, std::span<double> r, std::span<double> d) noexcept {
  std::ranges::fill(r, 1.0);
  std::ranges::fill(d, 0.0);
  if (!(moments.count > 0.0)) return;
  for (std::size_t c = 0; c < mean.size(); ++c) {
    const double denominator = std::max(renorm_stddev[c], std::sqrt(epsilon));
    const double stddev = std::sqrt(moments.variance[c] + epsilon);
    r[c] = std::clamp(stddev / denominator, limits.rmin, limits.rmax);
    d[c] = std::clamp((mean[c] - renorm_mean[c]) / denominator, -limits.dmax, limits.dmax);
  }
}

}  // namespace lockstep
