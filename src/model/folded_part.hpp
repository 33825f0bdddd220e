// Layers on their way into a folded model.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// A copy of a layer, not built, and what its variables are to hold.
struct FoldedPart {
  std::unique_ptr<Layer> layer;
  std::vector<Tensor> values;     ///< in the order of the variables; none where there are parts
  std::vector<FoldedPart> inner;  ///< of the layers inside, which belong to `layer` already
};

/// A copy of the whole layer.
[[nodiscard]] FoldedPart part_of(Layer& layer);

/// What a Dense or Conv2D computes before its normalizer; empty for other layers, and without one.
[[nodiscard]] std::optional<FoldedPart> part_before_normalizer(Layer& layer);

/// Folds the normalization of an input of this shape into the last of the parts, whose output that
/// is; what is left of the activation becomes a further part. Returns why it must be kept, if so;
/// then nothing has changed.
[[nodiscard]] std::optional<std::string> fold(const BatchNormalization& normalization,
                                              const Shape& shape, std::vector<FoldedPart>& parts);

/// Gives the variables of the layer that was made of the part their values.
void assign(const FoldedPart& part, Layer& layer);

}  // namespace lockstep
