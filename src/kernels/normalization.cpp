#include "kernels/normalization.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lockstep {
namespace {

// Calls visit(channel, first, last) for every run of elements of one channel, in memory order.
template <class Visit>
void for_each_run(const Columns& columns, Visit&& visit) {
  std::int64_t first = 0;
  for (std::int64_t outer = 0; outer < columns.outer; ++outer)
    for (std::int64_t channel = 0; channel < columns.channels; ++channel) {
      visit(channel, first, first + columns.inner);
      first += columns.inner;
    }
}

}  // namespace

template <class T>
void add_sums(const T* x, const Columns& columns, const double* center, double* sum,
              double* sum_squares) {
  for_each_run(columns, [&](std::int64_t c, std::int64_t first, std::int64_t last) {
    double run_sum = 0.0;
    double run_squares = 0.0;
    for (std::int64_t i = first; i < last; ++i) {
      const double difference = static_cast<double>(x[i]) - center[c];
      run_sum += difference;
      run_squares += difference * difference;
    }
    sum[c] += run_sum;
    sum_squares[c] += run_squares;
  });
}

template <class T>
void widen_range(const T* x, const Columns& columns, double* maximum, double* negated_minimum) {
  for_each_run(columns, [&](std::int64_t c, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const double value = static_cast<double>(x[i]);
      if (std::isnan(value)) {
        maximum[c] = negated_minimum[c] = std::numeric_limits<double>::infinity();
      } else {
        maximum[c] = std::max(maximum[c], value);
        negated_minimum[c] = std::max(negated_minimum[c], -value);
      }
    }
  });
}

template <class T>
void apply_affine(const T* x, const Columns& columns, const double* center, const double* scale,
                  const double* shift, T* y) {
  for_each_run(columns, [&](std::int64_t c, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      y[i] = static_cast<T>((static_cast<double>(x[i]) - center[c]) * scale[c] + shift[c]);
  });
}

template <class T>
void add_gradient_sums(const T* x, const T* dy, const Columns& columns, const double* center,
                       const double* scale, const double* shift, double* sum,
                       double* sum_normalized) {
  for_each_run(columns, [&](std::int64_t c, std::int64_t first, std::int64_t last) {
    double run_sum = 0.0;
    double run_normalized = 0.0;
    for (std::int64_t i = first; i < last; ++i) {
      const double gradient = static_cast<double>(dy[i]);
      run_sum += gradient;
      run_normalized += gradient * ((static_cast<double>(x[i]) - center[c]) * scale[c] + shift[c]);
    }
    sum[c] += run_sum;
    sum_normalized[c] += run_normalized;
  });
}

template <class T>
void apply_input_gradient(const T* x, const T* dy, const Columns& columns, const double* center,
                          const double* a, const double* p, const double* q, T* dx) {
  for_each_run(columns, [&](std::int64_t c, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      dx[i] = static_cast<T>(a[c] * static_cast<double>(dy[i]) +
                             (p[c] * (static_cast<double>(x[i]) - center[c]) + q[c]));
  });
}

#define LOCKSTEP_INSTANTIATE(T)                                                         \
  template void add_sums(const T*, const Columns&, const double*, double*, double*);    \
  template void widen_range(const T*, const Columns&, double*, double*);                \
  template void apply_affine(const T*, const Columns&, const double*, const double*,    \
                             const double*, T*);                                        \
  template void add_gradient_sums(const T*, const T*, const Columns&, const double*,    \
                                  const double*, const double*, double*, double*);      \
  template void apply_input_gradient(const T*, const T*, const Columns&, const double*, \
                                     const double*, const double*, const double*, T*)

LOCKSTEP_INSTANTIATE(float);
LOCKSTEP_INSTANTIATE(double);
#undef LOCKSTEP_INSTANTIATE

}  // namespace lockstep
