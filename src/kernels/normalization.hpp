// Loops of batch normalization over raw memory: obvious, scalar, in double.

#pragma once

#include "kernels/columns.hpp"

namespace lockstep {

// Arrays of double are per channel, [channels]; x, y, dy, dx are laid out as `columns` says.
// T is float or double.

/// sum += x - center, sum_squares += (x - center)^2.
template <class T>
void add_sums(const T* x, const Columns& columns, const double* center, double* sum,
              double* sum_squares);

/// maximum = max(maximum, x), negated_minimum = max(negated_minimum, -x); NaN counts as +infinity
/// in both.
template <class T>
void widen_range(const T* x, const Columns& columns, double* maximum, double* negated_minimum);

/// y = (x - center) * scale + shift. y may be x.
template <class T>
void apply_affine(const T* x, const Columns& columns, const double* center, const double* scale,
                  const double* shift, T* y);

/// sum += dy, sum_normalized += dy * xhat with xhat = (x - center) * scale + shift.
template <class T>
void add_gradient_sums(const T* x, const T* dy, const Columns& columns, const double* center,
                       const double* scale, const double* shift, double* sum,
                       double* sum_normalized);

/// dx = a * dy + p * (x - center) + q. dx may be dy.
template <class T>
void apply_input_gradient(const T* x, const T* dy, const Columns& columns, const double* center,
                          const double* a, const double* p, const double* q, T* dx);

}  // namespace lockstep
