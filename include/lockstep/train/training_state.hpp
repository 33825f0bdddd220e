// A training at a moment, as named tensors.

#pragma once

#include <map>
#include <string>

#include "lockstep/base/tensor.hpp"

namespace lockstep {

/// What Trainer::state() gives, by name:
///
///     dense/kernel                       a variable of the model
///     optimizer:dense/kernel/velocity    a tensor that the optimizer keeps; optimizer:num_steps
///     optimizer:learning_rate            float64: initial, factor and interval of a StepDecay
///     trainer:num_steps, trainer:seed    int64; seeds by their bits
///     trainer:position                   int64: epoch, batch within the epoch
///     trainer:order                      int64: the fields of SamplerOptions, in their order
///     trainer:sums                       float64: of loss and metrics over the epoch so far
///     trainer:loss_scale                 float64: scale, steps since it changed; where it is used
///     groups:norm                        int64 [ranks]: the first rank of each rank's group in the
///                                        layer norm, where groups have learned statistics apart
///     rank 2:norm/moving_mean            a variable in the group whose first rank is 2
using TrainingState = std::map<std::string, Tensor>;

}  // namespace lockstep
