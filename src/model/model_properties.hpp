// What ranks compare of a model that they are about to build.

#pragma once

#include <span>
#include <vector>

#include "comm/agreement.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/model/sequential.hpp"
#include "model/summary.hpp"

namespace lockstep {

/// The model's options, and for each of its layers the options before what follows from them.
[[nodiscard]] std::vector<Property> properties_of(const SequentialOptions& options,
                                                  const Shape& sample_shape,
                                                  std::span<const SummaryRow> rows);

}  // namespace lockstep
