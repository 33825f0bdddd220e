#include "layers/batch_normalization_parts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>

#include "base/convert.hpp"
#include "base/visit_dtype.hpp"
#include "kernels/normalization.hpp"
#include "norm/renorm.hpp"
#include "stats/column_layout.hpp"

namespace lockstep {

void BatchNormalizationTape::Record::resize(std::size_t num_channels) {
  moments.resize(num_channels);
  mean.resize(num_channels);
  normalization.resize(num_channels);
  r.assign(num_channels, 1.0);
  d.assign(num_channels, 0.0);
}

void BatchNormalizationTape::Record::add_sums(const SumsView& sums) const noexcept {
  *sums.count += static_cast<double>(columns.num_per_channel());
  visit_parameter(input.dtype(), [&]<class T>(TypeTag<T>) {
    lockstep::add_sums(input.values<T>().data(), columns, normalization.center.data(),
                       sums.sum.data(), sums.sum_squares.data());
  });
}

void BatchNormalizationTape::Record::take_range(std::span<double> range) const noexcept {
  std::ranges::fill(range, -std::numeric_limits<double>::infinity());
  visit_parameter(input.dtype(), [&]<class T>(TypeTag<T>) {
    widen_range(input.values<T>().data(), columns, range.data(), range.data() + columns.channels);
  });
}

void BatchNormalizationTape::Record::add_gradient_sums(const TensorView& output_gradient,
                                                       const GradientSumsView& sums) const {
  visit_parameter(input.dtype(), [&]<class T>(TypeTag<T>) {
    lockstep::add_gradient_sums(input.values<T>().data(), output_gradient.values<T>().data(),
                                columns, normalization.center.data(), normalization.scale.data(),
                                normalization.shift.data(), sums.output.data(),
                                sums.normalized.data());
  });
}

void BatchNormalizationTape::Record::write_input_gradient(
    const TensorView& output_gradient, const InputGradientAffine& affine,
    const MutableTensorView& input_gradient) const {
  visit_parameter(input.dtype(), [&]<class T>(TypeTag<T>) {
    apply_input_gradient(input.values<T>().data(), output_gradient.values<T>().data(), columns,
                         normalization.center.data(), affine.a.data(), affine.p.data(),
                         affine.q.data(), input_gradient.values<T>().data());
  });
}

std::uint64_t BatchNormalization::Parts::next_number() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

void BatchNormalization::Parts::resize() {
  factor.assign(num_channels, 1.0);
  offset.assign(num_channels, 0.0);
  values.resize(num_channels);
  more_values.resize(num_channels);
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
  std::ranges::fill(factor, 1.0);  // backward goes on with it
  if (gamma != nullptr) read_as_double(gamma->value(), factor);
  if (beta != nullptr) read_as_double(beta->value(), offset);
}

void BatchNormalization::Parts::renormalize(const BatchNormalizationOptions& options,
                                            BatchNormalizationTape::Record& record) noexcept {
  const RenormClipping& clipping = options.renorm_clipping;
  read_as_double(moving->variables().renorm_mean->value(), values);
  read_as_double(moving->variables().renorm_stddev->value(), more_values);
  lockstep::renormalize(record.moments, record.mean, options.epsilon, values, more_values,
                        {clipping.rmin, clipping.rmax, clipping.dmax}, record.r, record.d);
}

void BatchNormalization::Parts::move_shift(std::span<const double> mean) noexcept {
  read_as_double(shift->value(), values);
  for (std::size_t c = 0; c < num_channels; ++c)
    if (std::isfinite(mean[c])) values[c] = mean[c];
  write_from_double(values, shift->value());
}

void BatchNormalization::Parts::provide_update(BatchNormalizationTape::Record& record) {
  if (record.update.empty()) {
    if (spare.empty()) spare.emplace_back();
    record.update.splice(record.update.begin(), spare, spare.begin());
  }
  record.update.front().mean.resize(num_channels);
  record.update.front().variance.resize(num_channels);
}

namespace {

void require_momentum(const char* name, double momentum) {
  if (!(momentum >= 0.0 && momentum <= 1.0))
    throw ArgumentError(fmt::format("{} must be in [0, 1], got {}", name, momentum));
}

void validate_renorm(const BatchNormalizationOptions& options) {
  const auto& [rmin, rmax, dmax] = options.renorm_clipping;
  if (!(0.0 <= rmin && rmin <= rmax))
    throw ArgumentError(fmt::format(
        "renorm_clipping needs 0 <= rmin <= rmax, got rmin {} and rmax {}", rmin, rmax));
  if (!(dmax >= 0.0))
    throw ArgumentError(fmt::format("renorm_clipping needs dmax >= 0, got {}", dmax));
  require_momentum("renorm_momentum", options.renorm_momentum);
  if (options.epsilon == 0.0)
    throw ArgumentError("renorm cannot be combined with epsilon 0: it divides by its root");
  if (options.moving_variance == MovingVariance::unbiased)
    throw ArgumentError(
        "renorm cannot be combined with the unbiased moving variance: it averages standard "
        "deviations");
}

}  // namespace

RenormClipping renorm_clipping_of(const std::map<std::string, double>& clipping) {
  RenormClipping result;
  for (const auto& [key, value] : clipping) {
    if (key == "rmin")
      result.rmin = value;
    else if (key == "rmax")
      result.rmax = value;
    else if (key == "dmax")
      result.dmax = value;
    else
      throw ArgumentError(
          fmt::format("renorm_clipping knows the keys rmin, rmax and dmax, got '{}'", key));
  }
  return result;
}

void validate(const BatchNormalizationOptions& options, const Shape& input_shape) {
  const int axis = resolved_axis(options.axis.values().front(), input_shape);
  if (!input_shape.is_valid() || input_shape[axis] == 0)
    throw ArgumentError(fmt::format("the input of shape {} has no channels along axis {}",
                                    to_string(input_shape), options.axis.values().front()));
  require_momentum("momentum", options.momentum.value_or(0.0));
  if (!(options.epsilon >= 0.0) || std::isinf(options.epsilon))
    throw ArgumentError(fmt::format("epsilon must be finite and >= 0, got {}", options.epsilon));
  if (options.zero_debias_moving_mean && options.momentum.value_or(1.0) == 1.0)
    throw ArgumentError(
        "zero_debias_moving_mean divides by 1 - momentum^steps: it cannot be combined with "
        "momentum 1 or with the average of all batches");
  const bool counts_updates = !options.momentum || options.zero_debias_moving_mean;
  if (options.nonfinite == Nonfinite::skip_update && counts_updates)
    throw ArgumentError(
        "nonfinite skip_update cannot be combined with the average of all batches or with "
        "zero_debias_moving_mean: they count the updates of all channels together");
  if (options.renorm) validate_renorm(options);
}

}  // namespace lockstep
