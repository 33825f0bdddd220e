// Batch normalization by its definition, element by element, in the simplest way.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "layers/option_cases.hpp"

namespace lockstep::testing {

/// What a training call must give.
struct Expected {
  std::vector<double> y;
  std::map<std::string, std::vector<double>> statistics;  ///< by the variable's name in the layer
};

/// For the inputs and the variables that the run has now. The run is one process's; rounding to
/// its dtype is left to the caller.
[[nodiscard]] Expected expected_of(OptionRun& run);

}  // namespace lockstep::testing
