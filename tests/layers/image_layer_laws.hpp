// Laws that every layer for images obeys, whatever it computes.

#pragma once

#include <functional>
#include <memory>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/data_format.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

using MakeImageLayer = std::function<std::unique_ptr<Layer>(DataFormat)>;

/// [samples, ..., channels] -> [samples, channels, ...]; of rank 2 as it is.
Tensor to_nchw(const Tensor& nhwc);

/// A float64 tensor of less than 1000 numbers in [-1, 1), no two nearer than 0.002.
Tensor distinct_tensor(const Shape& shape);

/// The output of a training call.
Tensor training_output_of(Layer& layer, const Tensor& input, Tape* tape = nullptr);

/// Checks with `input`, NHWC and float64, that the gradients are those of finite differences, that
/// both data formats agree, that a batch may be cut into parts, empty ones included, that gradients
/// are overwritten, accumulated or left out as asked, that repeated steps allocate nothing, and
/// that wrong calls are refused.
void check_image_layer(const MakeImageLayer& make, const Tensor& input);

}  // namespace lockstep::testing
