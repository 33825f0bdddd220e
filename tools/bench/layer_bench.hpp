// Measures of batch normalization on one workload.

#pragma once

#include <vector>

#include "bench/measure.hpp"
#include "bench/row.hpp"
#include "bench/workload.hpp"
#include "lockstep/comm/communicator.hpp"

/// Which layers take part besides the plain one.
enum class Field : std::uint8_t {
  plain,  ///< none
  whole,  ///< with relu, with relu and a residual, synchronized where there are ranks; oneDNN's
};

/// The floor, and layers against it and against each other. Throws UsageError when a rank has too
/// little memory. Collective.
[[nodiscard]] std::vector<Row> layer_rows(const lockstep::Communicator& world,
                                          const Workload& workload, Field field,
                                          const MeasureOptions& options);
