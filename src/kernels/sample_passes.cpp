#include "kernels/sample_passes.hpp"

#include <algorithm>

namespace lockstep {

template <class T>
SamplePasses<T>::SamplePasses(const NormalizationBatch<T>& batch, const Samples& samples,
                              ChannelPairs* pairs)
    : batch_(batch),
      samples_(samples),
      kernels_(vector_kernels_for<T>()),
      vector_{},
      pairs_(pairs) {
  const auto whole = vector_batch(batch);
  const auto columns = columns_of(samples_.layout);
  if (!whole || !columns) kernels_ = nullptr;
  if (kernels_ == nullptr) return;
  vector_ = *whole;
  vector_.columns = *columns;
}

template <class T>
VectorBatch<T> SamplePasses<T>::vector_of(std::int64_t n) const noexcept {
  const std::int64_t first = samples_.first_of(n);
  VectorBatch<T> sample = vector_;
  sample.x += first;
  if (sample.residual != nullptr) sample.residual += first;
  sample.gates.first += first;
  return sample;
}

template <class T>
void SamplePasses<T>::add_sums(std::int64_t n, const double* center, double* count, double* sum,
                               double* sum_squares) const {
  if (kernels_ == nullptr)
    return lockstep::add_sums(sample_of(batch_, samples_, n), center, count, sum, sum_squares);
  for (std::int64_t c = 0; c < vector_.columns.channels; ++c)
    count[c] += static_cast<double>(vector_.columns.num_per_channel());
  kernels_->add_sums(vector_of(n), center, sum, sum_squares);
}

template <class T>
void SamplePasses<T>::begin_output(const AffineView& output, T* y, bool is_streamed) noexcept {
  output_ = output;
  y_ = y;
  batch_.is_streamed = vector_.is_streamed = is_streamed;
  fits_ = kernels_ != nullptr && fit<T>(output, samples_.layout.num_columns);
}

template <class T>
bool SamplePasses<T>::write_output(std::int64_t n, std::uint8_t* gates) const {
  const std::int64_t first = samples_.first_of(n);
  std::uint8_t* const target = gates == nullptr ? nullptr : gates + first / 8;
  if (!fits_) {
    NormalizationBatch<T> sample = sample_of(batch_, samples_, n);
    sample.is_streamed = batch_.is_streamed;
    return apply_normalization(sample, output_, y_ + first, target);
  }
  const bool has_gates =
      target != nullptr && vector_.residual != nullptr && vector_.activation.has_gates();
  kernels_->apply(vector_of(n), output_, y_ + first, has_gates ? target : nullptr);
  return has_gates;
}

template <class T>
void SamplePasses<T>::begin_gradients(const AffineView& output, const AffineView& normalization,
                                      const T* dy) {
  output_ = output;
  normalization_ = normalization;
  dy_ = dy;
  const std::int64_t num_columns = samples_.layout.num_columns;
  fits_ = kernels_ != nullptr && fit<T>(output, num_columns) && fit<T>(normalization, num_columns);
  pairs_->clear(num_columns);
}

template <class T>
void SamplePasses<T>::add_gradient_sums(std::int64_t n, double* sum, double* sum_products) {
  const T* const dy = dy_ + samples_.first_of(n);
  if (!fits_)
    return lockstep::add_gradient_sums(sample_of(batch_, samples_, n), output_, normalization_, dy,
                                       {sum, nullptr, sum_products, nullptr});
  std::ranges::fill(pairs_->first, 0.0);
  std::ranges::fill(pairs_->second, 0.0);
  kernels_->add_gradient_sums(vector_of(n), output_, normalization_, dy, pairs_->first.data(),
                              pairs_->second.data());
  for (std::size_t c = 0; c < pairs_->first.size(); ++c)
    add_normalized_sums<T>(normalization_, c, pairs_->first[c], pairs_->second[c], sum[c],
                           sum_products[c]);
}

template <class T>
void SamplePasses<T>::begin_input_gradient(const InputGradientView& gradient, T* dx,
                                           T* residual_gradient, bool is_streamed) {
  gradient_ = gradient;
  dx_ = dx;
  residual_gradient_ = residual_gradient;
  batch_.is_streamed = vector_.is_streamed = is_streamed;
  const std::int64_t num_columns = samples_.layout.num_columns;
  factored_ = {gradient.center, gradient.a, nullptr, nullptr};
  fits_ = kernels_ != nullptr && fit<T>(output_, num_columns);
  if (fits_ && gradient.p != nullptr) {
    fits_ = factor(gradient, num_columns, *pairs_);
    factored_.p = pairs_->first.data();
    factored_.q = pairs_->second.data();
  }
  fits_ = fits_ && factored_fit<T>(factored_, num_columns);
}

template <class T>
void SamplePasses<T>::write_gradients(std::int64_t n) const {
  const std::int64_t first = samples_.first_of(n);
  T* const dx = dx_ == nullptr ? nullptr : dx_ + first;
  T* const residual_gradient = residual_gradient_ == nullptr ? nullptr : residual_gradient_ + first;
  if (fits_)
    return kernels_->apply_input_gradient(vector_of(n), output_, factored_, dy_ + first, dx,
                                          residual_gradient);
  NormalizationBatch<T> sample = sample_of(batch_, samples_, n);
  sample.is_streamed = batch_.is_streamed;
  apply_input_gradient(sample, output_, gradient_, dy_ + first, dx, residual_gradient);
}

template class SamplePasses<float>;
template class SamplePasses<double>;
template class SamplePasses<Float16>;
template class SamplePasses<BFloat16>;

}  // namespace lockstep
