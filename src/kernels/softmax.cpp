#include "kernels/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lockstep {
namespace {

// Calls `use` with the offset of the first element of every line along the axis.
template <class Use>
void for_each_line(const AxisExtents& extents, Use&& use) {
  for (std::int64_t outer = 0; outer < extents.outer; ++outer)
    for (std::int64_t inner = 0; inner < extents.inner; ++inner)
      use(outer * extents.length * extents.inner + inner);
}

}  // namespace

template <class T>
void softmax(const AxisExtents& extents, const T* input, T* output) {
  const std::int64_t stride = extents.inner;
  for_each_line(extents, [&](std::int64_t first) {
    const T* const x = input + first;
    T* const y = output + first;
    T largest = -std::numeric_limits<T>::infinity();
    for (std::int64_t i = 0; i < extents.length; ++i) largest = std::max(largest, x[i * stride]);
    double sum = 0.0;
    for (std::int64_t i = 0; i < extents.length; ++i) {
      y[i * stride] = std::exp(x[i * stride] - largest);
      sum += static_cast<double>(y[i * stride]);
    }
    for (std::int64_t i = 0; i < extents.length; ++i)
      y[i * stride] = static_cast<T>(static_cast<double>(y[i * stride]) / sum);
  });
}

template <class T>
void softmax_gradient(const AxisExtents& extents, const T* output, const T* output_gradient,
                      T* input_gradient) {
  const std::int64_t stride = extents.inner;
  for_each_line(extents, [&](std::int64_t first) {
    const T* const y = output + first;
    const T* const dy = output_gradient + first;
    T* const dx = input_gradient + first;
    double sum = 0.0;
    for (std::int64_t i = 0; i < extents.length; ++i)
      sum += static_cast<double>(y[i * stride]) * static_cast<double>(dy[i * stride]);
    for (std::int64_t i = 0; i < extents.length; ++i)
      dx[i * stride] = static_cast<T>(static_cast<double>(y[i * stride]) *
                                      (static_cast<double>(dy[i * stride]) - sum));
  });
}

template void softmax(const AxisExtents&, const float*, float*);
template void softmax(const AxisExtents&, const double*, double*);
template void softmax_gradient(const AxisExtents&, const float*, const float*, float*);
template void softmax_gradient(const AxisExtents&, const double*, const double*, double*);

}  // namespace lockstep
