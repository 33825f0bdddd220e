#include "kernels/product.hpp"

#include <Eigen/Core>

namespace lockstep {
namespace {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Calls `use` with the matrix or its transpose as an Eigen expression.
template <class T, class Use>
void with_matrix(const MatrixView<T>& view, Use&& use) {
  const Eigen::Map<const Matrix<T>> matrix(view.data, view.rows, view.columns);
  if (view.is_transposed)
    use(matrix.transpose());
  else
    use(matrix);
}

}  // namespace

template <class T>
void product(const MatrixView<T>& a, const MatrixView<T>& b, T* result, Result mode) {
  with_matrix(a, [&](const auto& left) {
    with_matrix(b, [&](const auto& right) {
      Eigen::Map<Matrix<T>> target(result, left.rows(), right.cols());
      if (mode == Result::overwrite)
        target.noalias() = left * right;
      else
        target.noalias() += left * right;
    });
  });
}

template void product(const MatrixView<float>&, const MatrixView<float>&, float*, Result);
template void product(const MatrixView<double>&, const MatrixView<double>&, double*, Result);

}  // namespace lockstep
