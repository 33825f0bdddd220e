// The numbers that variables hold.

#pragma once

#include <cstdint>
#include <vector>

#include "lockstep/params/variable.hpp"

namespace lockstep::testing {

/// Elements of the value of a float64 or int64 variable.
[[nodiscard]] inline std::vector<double> values_of(const Variable& variable) {
  std::vector<double> all;
  if (variable.dtype() == DType::int64)
    for (const std::int64_t value : variable.value().values<std::int64_t>())
      all.push_back(static_cast<double>(value));
  else
    for (const double value : variable.value().values<double>()) all.push_back(value);
  return all;
}

/// Those of several variables, one after another.
[[nodiscard]] inline std::vector<double> values_of(const std::vector<Variable*>& variables) {
  std::vector<double> all;
  for (const Variable* variable : variables)
    for (const double value : values_of(*variable)) all.push_back(value);
  return all;
}

}  // namespace lockstep::testing
