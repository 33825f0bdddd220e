#include "base/random.hpp"

#include <cmath>
#include <numbers>

namespace lockstep {

double RandomKey::normal(std::uint64_t i) const noexcept {
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform(2 * i)));
  return radius * std::cos(2.0 * std::numbers::pi * uniform(2 * i + 1));
}

}  // namespace lockstep
