// The numbers that variables hold.

#pragma once

#include <vector>

#include "lockstep/params/variable.hpp"

namespace lockstep::testing {

/// Elements of the values of float64 variables, one variable after another.
[[nodiscard]] inline std::vector<double> values_of(const std::vector<Variable*>& variables) {
  std::vector<double> all;
  for (const Variable* variable : variables) {
    const auto values = variable->value().values<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// Elements of the value of a float64 variable.
[[nodiscard]] inline std::vector<double> values_of(const Variable& variable) {
  const auto values = variable.value().values<double>();
  return {values.begin(), values.end()};
}

}  // namespace lockstep::testing
