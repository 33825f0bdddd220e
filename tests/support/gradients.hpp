// Checks the gradients of a layer against finite differences.

#pragma once

#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

/// Largest deviation of backward() from central differences of the loss sum(weights * output),
/// over the input and every trainable variable, relative to the largest gradient of each. The layer
/// is built for float64; `call` is used as it is but for its tape. Not for inputs nearer than 1e-3
/// to a kink.
double gradient_error(Layer& layer, const Tensor& input, Call call = {.mode = Mode::training});

/// A float64 tensor of reproducible numbers in [-1, 1), none nearer than 0.01 to 0.
Tensor random_tensor(const Shape& shape, std::uint64_t seed);

}  // namespace lockstep::testing
