#include "layers/batch_normalization_parts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/convert.hpp"
#include "base/visit_dtype.hpp"
#include "kernels/normalization.hpp"
#include "stats/column_layout.hpp"

namespace lockstep {

void BatchNormalizationTape::Record::resize(std::size_t num_channels) {
  moments.resize(num_channels);
  mean.resize(num_channels);
  normalization.resize(num_channels);
}

void BatchNormalizationTape::Record::add_sums(const SumsView& sums) const noexcept {
  *sums.count += static_cast<double>(columns.num_per_channel());
  visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) {
    lockstep::add_sums(input.values<T>().data(), columns, normalization.center.data(),
                       sums.sum.data(), sums.sum_squares.data());
  });
}

void BatchNormalizationTape::Record::take_range(std::span<double> range) const noexcept {
  std::ranges::fill(range, -std::numeric_limits<double>::infinity());
  visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) {
    widen_range(input.values<T>().data(), columns, range.data(), range.data() + columns.channels);
  });
}

void BatchNormalizationTape::Record::add_gradient_sums(const TensorView& output_gradient,
                                                       const GradientSumsView& sums) const {
  visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) {
    lockstep::add_gradient_sums(input.values<T>().data(), output_gradient.values<T>().data(),
                                columns, normalization.center.data(), normalization.scale.data(),
                                normalization.shift.data(), sums.output.data(),
                                sums.normalized.data());
  });
}

void BatchNormalizationTape::Record::write_input_gradient(
    const TensorView& output_gradient, const InputGradientAffine& affine,
    const MutableTensorView& input_gradient) const {
  visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) {
    apply_input_gradient(input.values<T>().data(), output_gradient.values<T>().data(), columns,
                         normalization.center.data(), affine.a.data(), affine.p.data(),
                         affine.q.data(), input_gradient.values<T>().data());
  });
}

void BatchNormalization::Parts::resize() {
  factor.assign(num_channels, 1.0);
  offset.assign(num_channels, 0.0);
  values.resize(num_channels);
  local_range.resize(2 * num_channels);
  range.resize(2 * num_channels);
  output.resize(num_channels);
  input_gradient.resize(num_channels);
}

BatchNormalizationTape::Record& BatchNormalization::Parts::record_of(const Call& call) {
  if (call.tape == nullptr && call.mode == Mode::training && call.commit == Commit::by_caller)
    throw ArgumentError("a training call that the caller commits needs a tape");
  auto* own = call.tape == nullptr ? &tape : dynamic_cast<BatchNormalizationTape*>(call.tape);
  if (own == nullptr)
    throw ArgumentError("the tape was made for another type of layer; use make_tape()");
  if (own->record_ == nullptr) own->record_ = std::make_unique<BatchNormalizationTape::Record>();
  return *own->record_;
}

void BatchNormalization::Parts::read_parameters() noexcept {
  if (gamma != nullptr) read_as_double(gamma->value(), factor);
  if (beta != nullptr) read_as_double(beta->value(), offset);
}

void BatchNormalization::Parts::average(std::span<const double> batch, double momentum,
                                        Variable& statistic) noexcept {
  read_as_double(statistic.value(), values);
  std::ranges::transform(values, batch, values.begin(), [&](double old, double value) {
    return moving_average(old, value, momentum);
  });
  write_from_double(values, statistic.value());
}

void validate(const BatchNormalizationOptions& options, const Shape& input_shape) {
  const int axis = resolved_axis(options.axis, input_shape);
  if (!input_shape.is_valid() || input_shape[axis] == 0)
    throw ArgumentError(fmt::format("the input of shape {} has no channels along axis {}",
                                    to_string(input_shape), options.axis));
  if (!(options.momentum >= 0.0 && options.momentum <= 1.0))
    throw ArgumentError(fmt::format("momentum must be in [0, 1], got {}", options.momentum));
  if (!(options.epsilon >= 0.0) || std::isinf(options.epsilon))
    throw ArgumentError(fmt::format("epsilon must be finite and >= 0, got {}", options.epsilon));
}

}  // namespace lockstep
