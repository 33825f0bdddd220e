// From the options of pooling layers to their kernels.

#pragma once

#include "kernels/pooling.hpp"
#include "lockstep/layers/pool2d.hpp"

namespace lockstep {

/// Throws ArgumentError as output_shape() does.
[[nodiscard]] Pooling pooling_of(const Pool2DOptions& options, const Shape& input_shape);

}  // namespace lockstep
