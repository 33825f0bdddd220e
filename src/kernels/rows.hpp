// What a bias does to the rows of a matrix.

#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace lockstep {

/// Adds `row` [columns] to every row of `matrix` [rows, columns].
template <class T>
void add_to_rows(const T* row, T* matrix, std::int64_t num_rows, std::int64_t num_columns);

/// Sum over the rows of `matrix` [rows, columns], or that added to `result` [columns]. Sums are
/// taken in double.
template <class T>
void sum_rows(const T* matrix, std::int64_t num_rows, std::int64_t num_columns, T* result,
              Result mode = Result::overwrite);

}  // namespace lockstep
