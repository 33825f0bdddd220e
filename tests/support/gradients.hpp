// Gradients by finite differences.

#pragma once

#include <functional>
#include <span>
#include <vector>

#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

/// Largest deviation of backward() from central differences of the loss sum(weights * output),
/// over the input and every trainable variable, relative to the largest gradient of each. The layer
/// is built for float64; `call` is used as it is but for its tape. Not for inputs nearer than 1e-3
/// to a kink.
double gradient_error(Layer& layer, const Tensor& input, Call call = {.mode = Mode::training});

/// Central differences of `loss` with respect to each of `values`, which it depends on.
std::vector<double> differences_of(std::span<double> values, const std::function<double()>& loss);

/// Sum of the products of the elements of two float64 tensors.
double inner_product_of(const Tensor& a, const Tensor& b);

/// A float64 tensor of reproducible numbers in [-1, 1), none nearer than 0.01 to 0.
Tensor random_tensor(const Shape& shape, std::uint64_t seed);

}  // namespace lockstep::testing
