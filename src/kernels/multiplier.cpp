#include "kernels/multiplier.hpp"

#include "kernels/channels.hpp"

namespace lockstep {
namespace {

template <class T>
void multiply_by_reference(const MatrixView<T>& a, const MatrixView<T>& b, const T* bias, T* result,
                           Result mode) {
  product(a, b, result, mode);
  if (bias == nullptr) return;
  const std::int64_t rows = a.is_transposed ? a.columns : a.rows;
  const std::int64_t columns = b.is_transposed ? b.rows : b.columns;
  add_to_channels(Columns{rows, columns, 1}, bias, result);
}

}  // namespace

void Multiplier::multiply(const MatrixView<float>& a, const MatrixView<float>& b, const float* bias,
                          float* result, Result mode) {
  if (!float_product_.multiply(a, b, bias, result, mode))
    multiply_by_reference(a, b, bias, result, mode);
}

void Multiplier::multiply(const MatrixView<double>& a, const MatrixView<double>& b,
                          const double* bias, double* result, Result mode) {
  multiply_by_reference(a, b, bias, result, mode);
}

}  // namespace lockstep
