// Layers that take a normalizer, for tests of what holds for all of them.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"

namespace lockstep::testing {

/// A layer that can be made with a normalizer, or without a bias.
struct NormalizedCase {
  bool is_dense;
  DataFormat data_format;
  Shape shape;  ///< of its input
  int axis;     ///< of its channels

  using Normalizer = std::optional<BatchNormalizationOptions>;

  [[nodiscard]] std::unique_ptr<Layer> make(Normalizer normalizer,
                                            std::optional<DType> dtype = DType::float64) const {
    if (is_dense)
      return std::make_unique<Dense>(DenseOptions{.units = 4,
                                                  .use_bias = false,
                                                  .normalizer = std::move(normalizer),
                                                  .dtype = dtype,
                                                  .name = "layer"});
    return std::make_unique<Conv2D>(Conv2DOptions{.filters = 3,
                                                  .kernel_size = {2, 3},
                                                  .padding = Padding::same,
                                                  .data_format = data_format,
                                                  .use_bias = false,
                                                  .normalizer = std::move(normalizer),
                                                  .dtype = dtype,
                                                  .name = "layer"});
  }
};

[[nodiscard]] inline std::vector<NormalizedCase> normalized_cases() {
  return {{true, {}, {6, 5}, 1},
          {true, {}, {4, 3, 5}, 2},
          {false, DataFormat::nhwc, {4, 3, 4, 2}, 3},
          {false, DataFormat::nchw, {4, 2, 3, 4}, 1}};
}

/// The inner layer of Dense or Conv2D.
[[nodiscard]] inline BatchNormalization& normalizer_of(Layer& layer) {
  return dynamic_cast<BatchNormalization&>(*layer.inner_layers().front());
}

}  // namespace lockstep::testing
