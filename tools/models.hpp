// The networks that the command can train.

#pragma once

#include <cstdint>

#include "lockstep/model/sequential.hpp"
#include "train_options.hpp"

/// "mlp": two hidden layers of 64; "cnn": convolutions 3x3 with 16 and 32 filters and a max
/// pooling; "resnet": a convolution 3x3 with 16 filters and two residual blocks with 16 and 32.
/// Batch normalization follows each of these layers. For samples of `input_shape`. Throws
/// ArgumentError when the model cannot take them.
[[nodiscard]] lockstep::Sequential model_of(const TrainOptions& options,
                                            const lockstep::Shape& input_shape,
                                            std::int64_t num_classes,
                                            const lockstep::Strategy& strategy);
