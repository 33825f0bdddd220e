#include "kernels/pooling.hpp"

#include <algorithm>
#include <cmath>

namespace lockstep {
namespace {

// What one value of the results is made of: elements of the images at
// first + row * row_stride + column * column_stride.
struct Field {
  std::int64_t first;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

std::int64_t image_size_of(const Pooling& pooling) {
  return pooling.window.vertical.input * pooling.window.horizontal.input * pooling.channels;
}

// Calls visit(field) for every value of the results in their order.
template <class Visit>
void for_each_field(const Pooling& pooling, Visit&& visit) {
  const std::int64_t row_stride = pooling.window.horizontal.input * pooling.channels;
  for (std::int64_t image = 0; image < pooling.num_images; ++image)
    for (std::int64_t y = 0; y < pooling.window.vertical.output; ++y) {
      const Interval rows = covered_at(pooling.window.vertical, y);
      for (std::int64_t x = 0; x < pooling.window.horizontal.output; ++x) {
        const Interval columns = covered_at(pooling.window.horizontal, x);
        Field field{.first = image * image_size_of(pooling) + rows.first * row_stride +
                             columns.first * pooling.channels,
                    .rows = rows.last - rows.first,
                    .columns = columns.last - columns.first,
                    .row_stride = row_stride,
                    .column_stride = pooling.channels};
        for (std::int64_t c = 0; c < pooling.channels; ++c, ++field.first) visit(field);
      }
    }
}

// Calls visit(index) for every element of the field, row by row.
template <class Visit>
void for_each_index(const Field& field, Visit&& visit) {
  for (std::int64_t row = 0; row < field.rows; ++row)
    for (std::int64_t column = 0; column < field.columns; ++column)
      visit(field.first + row * field.row_stride + column * field.column_stride);
}

// Index of the first largest value, or of the first NaN.
template <class T>
std::int64_t index_of_maximum(const Field& field, const T* images) {
  std::int64_t best = field.first;
  for_each_index(field, [&](std::int64_t i) {
    const T maximum = images[best];
    const bool wins = !(images[i] <= maximum) & !std::isnan(maximum);
    best += static_cast<std::int64_t>(wins) * (i - best);  // no branch: none could be foretold
  });
  return best;
}

}  // namespace

template <class T>
void max_pool(const Pooling& pooling, const T* images, T* results) {
  for_each_field(pooling,
                 [&](const Field& field) { *results++ = images[index_of_maximum(field, images)]; });
}

template <class T>
void max_pool_gradient(const Pooling& pooling, const T* images, const T* result_gradients,
                       T* image_gradients) {
  std::fill_n(image_gradients, pooling.num_images * image_size_of(pooling), T{0});
  for_each_field(pooling, [&](const Field& field) {
    image_gradients[index_of_maximum(field, images)] += *result_gradients++;
  });
}

template <class T>
void average_pool(const Pooling& pooling, const T* images, T* results) {
  for_each_field(pooling, [&](const Field& field) {
    double sum = 0.0;
    for_each_index(field, [&](std::int64_t i) { sum += static_cast<double>(images[i]); });
    *results++ = static_cast<T>(sum / static_cast<double>(field.rows * field.columns));
  });
}

template <class T>
void average_pool_gradient(const Pooling& pooling, const T* result_gradients, T* image_gradients) {
  std::fill_n(image_gradients, pooling.num_images * image_size_of(pooling), T{0});
  for_each_field(pooling, [&](const Field& field) {
    const T share = *result_gradients++ / static_cast<T>(field.rows * field.columns);
    for_each_index(field, [&](std::int64_t i) { image_gradients[i] += share; });
  });
}

template void max_pool(const Pooling&, const float*, float*);
template void max_pool(const Pooling&, const double*, double*);
template void max_pool_gradient(const Pooling&, const float*, const float*, float*);
template void max_pool_gradient(const Pooling&, const double*, const double*, double*);
template void average_pool(const Pooling&, const float*, float*);
template void average_pool(const Pooling&, const double*, double*);
template void average_pool_gradient(const Pooling&, const float*, float*);
template void average_pool_gradient(const Pooling&, const double*, double*);

}  // namespace lockstep
