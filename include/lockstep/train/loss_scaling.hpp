// How the gradients of a training in float16 are kept in its range.

#pragma once

#include <cstdint>

namespace lockstep {

/// The gradient of the loss is multiplied by a scale before it goes backward in 16 bits, and the
/// gradients of parameters, which are float32, are divided by it before anything uses them. When
/// the merged ones are not finite the step changes nothing on any rank but lowers the scale; after
/// many steps without that it rises.
///
/// Micikevicius et al.: Mixed precision training, 2018.
struct LossScaling {
  double initial_scale = 0x1p15;        ///< from 2^-24 to 2^127; powers of 2 round nothing
  double growth_factor = 2.0;           ///< finite, >= 1
  std::int64_t growth_interval = 2000;  ///< steps in a row before the scale grows, >= 1
  double backoff_factor = 0.5;          ///< > 0 and < 1
};

}  // namespace lockstep
