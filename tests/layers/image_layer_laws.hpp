// Laws that every layer for images obeys, whatever it computes.

#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/data_format.hpp"
#include "lockstep/layers/layer.hpp"
#include "lockstep/layers/pool2d.hpp"

namespace lockstep::testing {

using MakeImageLayer = std::function<std::unique_ptr<Layer>(DataFormat, DType)>;

/// [samples, ..., channels] -> [samples, channels, ...]; of rank 2 as it is.
Tensor to_nchw(const Tensor& nhwc);

/// A float64 tensor of less than 1000 numbers in [-1, 1), no two nearer than 0.002.
Tensor distinct_tensor(const Shape& shape);

/// Checks with `input`, NHWC and float64, that both data formats agree, and for each of them that
/// gradients are those of finite differences and that the laws of check_layer and check_cut_law
/// hold.
void check_image_layer(const MakeImageLayer& make, const Tensor& input);

/// check_image_layer for every size, stride and padding of a Pool2D layer.
template <class PoolingLayer>
void check_pooling_layer(const Tensor& input) {
  for (const Size2D& pool_size : {Size2D{1, 1}, Size2D{2, 2}, Size2D{3, 3}, Size2D{3, 2}})
    for (const std::optional<Size2D>& strides :
         {std::optional<Size2D>(), std::optional(Size2D{1, 1}), std::optional(Size2D{2, 1})})
      for (const Padding padding : {Padding::valid, Padding::same})
        check_image_layer(
            [&](DataFormat data_format, DType dtype) {
              return std::make_unique<PoolingLayer>(Pool2DOptions{.pool_size = pool_size,
                                                                  .strides = strides,
                                                                  .padding = padding,
                                                                  .data_format = data_format,
                                                                  .dtype = dtype});
            },
            input);
}

}  // namespace lockstep::testing
