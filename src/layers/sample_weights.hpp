// Weights of the elements of a batch, from batch weights and a mask.

#pragma once

#include <cstdint>
#include <vector>

#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Element i of the input has the weight values[i / stride], or 1 where none are given.
struct SampleWeights {
  bool is_given = false;  ///< also where the batch is empty
  std::vector<double> values;
  std::int64_t stride = 1;

  /// Those of a call on an input of `input_shape`: weights times mask. Throws ArgumentError for a
  /// wrong dtype, rank, length or extent, and for weights that are negative or not finite.
  void set(const Call& call, const Shape& input_shape);

  std::vector<double> per_sample;  ///< scratch of set(): the batch weights
};

}  // namespace lockstep
