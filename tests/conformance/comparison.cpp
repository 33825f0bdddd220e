#include "conformance/comparison.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>

namespace lockstep::conformance {
namespace {

// |got - expected| in units of what is tolerated.
double deviation(double got, double expected, const Tolerance& tolerance) {
  if (got == expected || (std::isnan(expected) && !std::isfinite(got))) return 0.0;
  const double ratio =
      std::abs(got - expected) / (tolerance.absolute + tolerance.relative * std::abs(expected));
  return std::isnan(ratio) ? HUGE_VAL : ratio;
}

}  // namespace

Comparison compare(std::span<const double> got, std::span<const double> expected,
                   const Tolerance& tolerance) {
  if (got.size() != expected.size())
    return {HUGE_VAL, fmt::format("{} values instead of {}", got.size(), expected.size())};
  Comparison result;
  std::size_t where = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    if (const double worse = deviation(got[i], expected[i], tolerance); worse > result.worst) {
      result.worst = worse;
      where = i;
    }
  if (result.worst > 1.0)
    result.complaint = fmt::format("[{}] is {:.17g} instead of {:.17g}, {:.3g} times the tolerance",
                                   where, got[where], expected[where], result.worst);
  return result;
}

}  // namespace lockstep::conformance
