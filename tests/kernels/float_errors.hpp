// How far sums of float32 products may be from exact ones.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace lockstep::testing {

/// Reproducible numbers in [-1, 1).
inline std::vector<float> random_floats(std::int64_t count, std::mt19937& engine) {
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) value = uniform(engine);
  return result;
}

inline std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

inline std::vector<double> magnitudes(const std::vector<float>& values) {
  std::vector<double> result;
  for (const float value : values) result.push_back(std::abs(static_cast<double>(value)));
  return result;
}

/// True when every element is within n u / (1 - n u) times the sum of the magnitudes of its terms,
/// the bound of any order of summation: N. J. Higham, Accuracy and Stability of Numerical
/// Algorithms, 2nd edition, (3.5). Here n counts the terms and u = 2^-24.
inline bool are_sums(const std::vector<float>& values, const std::vector<double>& exact,
                     const std::vector<double>& sums_of_magnitudes, std::int64_t num_terms) {
  const double nu = static_cast<double>(num_terms) * std::ldexp(1.0, -24);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(std::abs(static_cast<double>(values[i]) - exact[i]) <=
          nu / (1.0 - nu) * sums_of_magnitudes[i]))
      return false;
  return values.size() == exact.size();
}

}  // namespace lockstep::testing
