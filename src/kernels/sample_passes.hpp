// The passes of normalization.hpp over one sample after another, of all channels or some: what is
// the same for all samples is found out once. Results are those of sample_of().

#pragma once

#include "kernels/exact_sums.hpp"
#include "kernels/factored_gradient.hpp"

namespace lockstep {

/// What arguments refer to must outlive it. `pairs` is memory for what gradients need.
template <class T>
class SamplePasses {
 public:
  SamplePasses(const NormalizationBatch<T>& batch, const Samples& samples,
               ChannelPairs* pairs = nullptr);

  /// As add_sums().
  void add_sums(std::int64_t n, const double* center, double* count, double* sum,
                double* sum_squares) const;

  /// Once before write_output(), which is apply_normalization(): y and gates of the whole batch.
  void begin_output(const AffineView& output, T* y, bool is_streamed) noexcept;
  bool write_output(std::int64_t n, std::uint8_t* gates) const;

  /// Once before add_gradient_sums(), which adds two sums as the function of that name, and before
  /// write_gradients(), which is apply_input_gradient(). Outputs may be null.
  void begin_gradients(const AffineView& output, const AffineView& normalization, const T* dy);
  void add_gradient_sums(std::int64_t n, double* sum, double* sum_products);
  void begin_input_gradient(const InputGradientView& gradient, T* dx, T* residual_gradient,
                            bool is_streamed);
  void write_gradients(std::int64_t n) const;

 private:
  [[nodiscard]] VectorBatch<T> vector_of(std::int64_t n) const noexcept;

  NormalizationBatch<T> batch_;
  Samples samples_;
  const VectorKernels<T>* kernels_;  // null where they cannot do it
  VectorBatch<T> vector_;
  bool fits_ = false;  // what was begun
  AffineView output_ = {}, normalization_ = {};
  T* y_ = nullptr;
  const T* dy_ = nullptr;
  T *dx_ = nullptr, *residual_gradient_ = nullptr;
  InputGradientView gradient_ = {};
  FactoredGradientView factored_ = {};
  ChannelPairs* pairs_;  // sums, or what was factored out
};

}  // namespace lockstep
