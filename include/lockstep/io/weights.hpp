// The weights of a model as files that other systems read.

#pragma once

#include <cstdint>
#include <filesystem>

#include "lockstep/base/export.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// How tensors in files are named and laid out.
enum class WeightNames : std::uint8_t {
  /// As in PyTorch's state_dict: norm.weight, norm.bias, norm.running_mean, norm.running_var,
  /// norm.num_batches_tracked; dense.weight is [outputs, inputs], conv2d.weight [outputs, inputs,
  /// height, width].
  pytorch,
  /// As the variables themselves: norm/gamma, norm/beta, norm/moving_mean, norm/moving_variance,
  /// norm/num_updates; dense/kernel is [inputs, outputs], conv2d/kernel [height, width, inputs,
  /// outputs].
  keras,
};

/// Writes the parameters and moving statistics to a safetensors file, which is replaced whole or
/// not at all. Values are stored as they are: a moving variance is biased or not as the layer's
/// options say. Where groups of ranks have learned statistics apart, what merge_statistics() would
/// make of them is written, and the model stays as it is. Rank 0 writes. Throws DataError on all
/// ranks when that fails, ArgumentError when two variables would have one name. Collective.
LOCKSTEP_EXPORT void save_weights(Sequential& model, const std::filesystem::path& path,
                                  WeightNames names = WeightNames::pytorch);

/// Takes over the parameters and moving statistics of a safetensors file: one of save_weights(), a
/// checkpoint, or one of another system with the same `names`, which matter only there. Files of
/// others need not count updates. Rank 0 reads. Throws DataError on all ranks, with nothing
/// changed, for a file that cannot be read, and naming all tensors that are missing, unexpected or
/// of another shape or dtype; StateError for a model that cannot have variables yet. Collective.
LOCKSTEP_EXPORT void load_weights(Sequential& model, const std::filesystem::path& path,
                                  WeightNames names = WeightNames::pytorch);

}  // namespace lockstep
