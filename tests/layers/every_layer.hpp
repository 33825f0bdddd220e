// An example of every type of layer, and of what batch normalization can do.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

struct Example {
  std::string name;
  Shape sample_shape;
  bool works_in_place;
  std::function<std::unique_ptr<Layer>(DType)> make;
  bool allocates = false;  ///< in a function of the user's own
};

/// Every call gives the same; batches may have any number of samples.
std::vector<Example> every_layer();

}  // namespace lockstep::testing
