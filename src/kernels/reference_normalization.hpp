// Loops of batch normalization that are obvious: in double, rounded once, for everything.

#pragma once

#include "kernels/normalization.hpp"

/// What the functions of lockstep of these names do, for any layout, weights, adjustment and
/// activation; other kernels are measured by them.
namespace lockstep::reference {

template <class T>
void add_sums(const NormalizationBatch<T>& batch, const double* center, double* count, double* sum,
              double* sum_squares);

template <class T>
void widen_range(const NormalizationBatch<T>& batch, double* maximum, double* negated_minimum);

template <class T>
void apply_normalization(const NormalizationBatch<T>& batch, const AffineView& output, T* y);

template <class T>
void add_gradient_sums(const NormalizationBatch<T>& batch, const AffineView& output,
                       const AffineView& normalization, const T* dy,
                       const GradientSumPointers& sums);

template <class T>
void apply_input_gradient(const NormalizationBatch<T>& batch, const AffineView& output,
                          const InputGradientView& gradient, const T* dy, T* dx,
                          T* residual_gradient);

}  // namespace lockstep::reference
