// Models for inference without the batch normalizations that weights can take over.

#pragma once

#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// A batch normalization that was not folded.
struct KeptNormalization {
  std::string layer;
  std::string reason;
};

struct FoldedModel {
  Sequential model;
  std::vector<std::string> folded;      ///< names of the batch normalizations that are gone
  std::vector<KeptNormalization> kept;  ///< those that are still there
};

/// A model with the same outputs in inference mode, up to rounding, in which the kernel and bias of
/// a Dense or Conv2D do what the batch normalization directly after it did:
///
///     kernel' = kernel * s,  bias' = (bias - moving_mean) * s + beta,
///     s = gamma / sqrt(moving_variance + epsilon) per channel.
///
/// That needs a layer without an activation, whose output channels are those that are normalized by
/// moving statistics; several normalizations in a row are folded one after another, and those in
/// the branches of a Residual are folded there. The normalizer of a Dense or Conv2D is folded into
/// it. Others are kept. The folded layer keeps its name, has a bias, and no regularizers and
/// constraints, which would now speak of other numbers. Its activation is that of the batch
/// normalization; where it cannot have one (Conv2D; leaky_relu with a slope other than
/// default_negative_slope), an Activation with the name of the batch normalization follows.
///
/// All layers are copies with variables of their own, named after the layer, also of those that
/// shared theirs and those of a VariableStore. The result has the strategy of `model` and is as
/// after Sequential::create(); `model` stays as it is. Where groups of ranks have learned apart,
/// merge_statistics() before makes it the same on all ranks. Throws as Sequential::variables() when
/// `model` has no variables, and as Layer::clone(). Local.
[[nodiscard]] LOCKSTEP_EXPORT FoldedModel fold_batch_normalization(Sequential& model);

}  // namespace lockstep
