#include "kernels/product.hpp"

#include <Eigen/Core>

#include "base/arena.hpp"

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

// How Eigen cuts a product; the operands that it packs lie in scratch memory instead of the heap.
template <class T>
class Blocking final
    : public Eigen::internal::gemm_blocking_space<Eigen::RowMajor, T, T, Eigen::Dynamic,
                                                  Eigen::Dynamic, Eigen::Dynamic> {
  using Base = Eigen::internal::gemm_blocking_space<Eigen::RowMajor, T, T, Eigen::Dynamic,
                                                    Eigen::Dynamic, Eigen::Dynamic>;

 public:
  Blocking(Eigen::Index rows, Eigen::Index columns, Eigen::Index depth)
      : Base(rows, columns, depth, 1, true) {
    T* const block_a = take(this->mc() * this->kc());
    this->m_blockB = take(this->kc() * this->nc());
    this->m_blockA = block_a;  // now that nothing throws: Eigen frees what it finds here
  }
  ~Blocking() { this->m_blockA = this->m_blockB = nullptr; }
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;

 private:
  T* take(std::int64_t size) {
    return scratch_.take({size}, dtype_of<T>()).template values<T>().data();
  }

  Scratch scratch_;
};

// What Eigen computes in blocks; it has other ways for small products and those of vectors.
bool is_blocked(Eigen::Index rows, Eigen::Index columns, Eigen::Index depth) {
  return rows > 1 && columns > 1 && depth > 0 &&
         rows + columns + depth >= EIGEN_GEMM_TO_COEFFBASED_THRESHOLD;
}

// target += left * right as Eigen does it.
template <class T, class Left, class Right>
void add_in_blocks(const Left& left, const Right& right, Eigen::Map<Matrix<T>>& target) {
  constexpr auto order = [](bool is_row_major) {
    return is_row_major ? Eigen::RowMajor : Eigen::ColMajor;
  };
  using Blocked =
      Eigen::internal::general_matrix_matrix_product<Eigen::Index, T, order(Left::IsRowMajor),
                                                     false, T, order(Right::IsRowMajor), false,
                                                     Eigen::RowMajor, 1>;
  Blocking<T> blocking(target.rows(), target.cols(), left.cols());
  Blocked::run(target.rows(), target.cols(), left.cols(), left.data(), left.outerStride(),
               right.data(), right.outerStride(), target.data(), 1, target.outerStride(), T{1},
               blocking);
}

}  // namespace

template <class T>
void product(const MatrixView<T>& a, const MatrixView<T>& b, T* result, Result mode) {
  with_matrix(a, [&](const auto& left) {
    with_matrix(b, [&](const auto& right) {
      Eigen::Map<Matrix<T>> target(result, left.rows(), right.cols());
      if (is_blocked(target.rows(), target.cols(), left.cols())) {
        if (mode == Result::overwrite) target.setZero();
        return add_in_blocks<T>(left, right, target);
      }
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
