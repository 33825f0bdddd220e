// The numbers that variables hold.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep::testing {

/// Elements of the value of a floating or int64 variable.
[[nodiscard]] inline std::vector<double> values_of(const Variable& variable) {
  if (variable.dtype() == DType::int64) {
    const auto values = variable.value().values<std::int64_t>();
    return {values.begin(), values.end()};
  }
  std::vector<double> all(static_cast<std::size_t>(variable.num_elements()));
  read_as_double(variable.value(), all);
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
