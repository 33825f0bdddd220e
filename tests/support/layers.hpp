// Calls layers on tensors, and the laws that every layer obeys whatever it computes.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

/// layer(input) as a tensor of its own, with the input's dtype.
Tensor output_of(Layer& layer, const Tensor& input, const Call& call = {});

/// What backward gives for the input of the call that `tape` recorded, whose shape is `shape`.
Tensor input_gradient_of(Layer& layer, Tape& tape, const Tensor& output_gradient,
                         const Shape& shape, Gradients gradients = Gradients::overwrite);

/// Copies of the gradients of all parameters, in their order.
std::vector<Tensor> gradients_of(Layer& layer);

/// Gives every parameter random numbers, none of them zero, so that none can be forgotten.
void randomize_parameters(Layer& layer);

/// The elements rounded to float32.
Tensor to_float32(const Tensor& tensor);

/// Rows [first, first + count) along axis 0 as a tensor of their own.
Tensor rows_of(const Tensor& tensor, std::int64_t first, std::int64_t count);

/// distance() of the elements of float64 tensors; infinity when shapes differ.
double distance_of(const Tensor& a, const Tensor& b);

/// True when shapes, dtypes and all bits agree.
bool is_identical(const Tensor& a, const Tensor& b);

using MakeLayer = std::function<std::unique_ptr<Layer>(DType)>;

/// Checks with a float64 `input` of a layer that `make` makes, not built yet, with random
/// parameters: float32 agrees with float64, 16-bit types are float32 rounded once, an empty batch
/// works and gives zero gradients, gradients are overwritten, accumulated or left out as asked,
/// tapes serve batches of any size, repeated steps allocate nothing, and wrong calls are refused.
void check_layer(const MakeLayer& make, const Tensor& input,
                 const Call& call = {.mode = Mode::training, .step = 3});

/// The same without 16-bit types, for layers of layers, each of which rounds.
void check_calls(const MakeLayer& make, const Tensor& input,
                 const Call& call = {.mode = Mode::training, .step = 3});

/// Checks that outputs and gradients of every cut of the batch, of 3 samples or more, are those of
/// the whole: bit for bit with a tolerance of 0, else up to `tolerance`, relative.
void check_cut_law(Layer& layer, const Tensor& input, double tolerance,
                   const Call& call = {.mode = Mode::training, .step = 3});

}  // namespace lockstep::testing
