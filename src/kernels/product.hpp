// Matrix products on raw row-major memory.

#pragma once

#include <cstdint>

namespace lockstep {

/// A row-major matrix in memory, used as it is or transposed.
template <class T>
struct MatrixView {
  const T* data;
  std::int64_t rows;     ///< as stored
  std::int64_t columns;  ///< as stored, contiguous
  bool is_transposed = false;
};

template <class T>
[[nodiscard]] MatrixView<T> transposed(MatrixView<T> matrix) noexcept {
  matrix.is_transposed = !matrix.is_transposed;
  return matrix;
}

/// What happens to the result that is there already.
enum class Result : std::uint8_t { overwrite, accumulate };

/// result = a b, or result += a b, row-major without gaps: [rows of a, columns of b] after their
/// transpositions. Nothing is read of factors without elements. For float and double.
template <class T>
void product(const MatrixView<T>& a, const MatrixView<T>& b, T* result,
             Result mode = Result::overwrite);

}  // namespace lockstep
