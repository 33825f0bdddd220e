// Softmax along one axis of a tensor.

#pragma once

#include <cstdint>

namespace lockstep {

/// A row-major tensor around one axis: [outer, length, inner], the axis in the middle.
struct AxisExtents {
  std::int64_t outer;
  std::int64_t length;
  std::int64_t inner;
};

/// output = exp(input - max) / sum exp(input - max) along the axis, which cannot overflow. Input
/// and output may be the same memory. For float and double.
template <class T>
void softmax(const AxisExtents& extents, const T* input, T* output);

/// input_gradient = output (output_gradient - sum output output_gradient), sums along the axis; the
/// gradients may be the same memory.
template <class T>
void softmax_gradient(const AxisExtents& extents, const T* output, const T* output_gradient,
                      T* input_gradient);

}  // namespace lockstep
