#include "kernels/rows.hpp"

#include <algorithm>
#include <array>

namespace lockstep {

template <class T>
void add_to_rows(const T* row, T* matrix, std::int64_t num_rows, std::int64_t num_columns) {
  for (std::int64_t i = 0; i < num_rows; ++i, matrix += num_columns)
    for (std::int64_t column = 0; column < num_columns; ++column) matrix[column] += row[column];
}

template <class T>
void sum_rows(const T* matrix, std::int64_t num_rows, std::int64_t num_columns, T* result,
              Result mode) {
  constexpr std::int64_t block = 64;  // columns whose sums stay in the first cache
  for (std::int64_t first = 0; first < num_columns; first += block) {
    const std::int64_t count = std::min(block, num_columns - first);
    std::array<double, block> sums{};
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const T* const row = matrix + i * num_columns + first;
      for (std::int64_t column = 0; column < count; ++column)
        sums[static_cast<std::size_t>(column)] += static_cast<double>(row[column]);
    }
    for (std::int64_t column = 0; column < count; ++column) {
      const auto sum = static_cast<T>(sums[static_cast<std::size_t>(column)]);
      T& target = result[first + column];
      target = mode == Result::overwrite ? sum : target + sum;
    }
  }
}

template void add_to_rows(const float*, float*, std::int64_t, std::int64_t);
template void add_to_rows(const double*, double*, std::int64_t, std::int64_t);
template void sum_rows(const float*, std::int64_t, std::int64_t, float*, Result);
template void sum_rows(const double*, std::int64_t, std::int64_t, double*, Result);

}  // namespace lockstep
