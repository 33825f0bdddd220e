#include "layers/batch_normalization_record.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/convert.hpp"
#include "kernels/fixed_point.hpp"
#include "lockstep/base/float16.hpp"

namespace lockstep {

using Record = BatchNormalizationTape::Record;

namespace {

constexpr const char* non_finite_message = "the input holds NaN or infinity";
constexpr const char* single_element_message =
    "strict: a channel has one element, whose variance means nothing";
// The smallest epsilon of TensorFlow's fused kernel.
constexpr double fused_epsilon = 1.001e-5;

}  // namespace

void Record::resize(std::size_t num_channels) {
  const auto num_columns = static_cast<std::size_t>(layout.num_columns);
  shift.resize(num_channels);
  count.resize(num_channels);
  mean.resize(num_channels);
  variance.resize(num_channels);
  stored_variance.resize(num_channels);
  r.assign(num_channels, 1.0);
  d.assign(num_channels, 0.0);
  gamma.assign(num_channels, 1.0);
  beta.assign(num_channels, 0.0);
  moments.resize(num_columns);
  normalization.resize(num_columns);
  output.resize(num_columns);
  factor.resize(num_columns);
  offset.resize(num_columns);
}

AffineView view_of(const ChannelAffine& affine) noexcept {
  return {affine.center.data(), affine.scale.data(), affine.shift.data()};
}

void Record::become_part(const Record& record, std::size_t first, std::size_t num_channels) {
  whole = &record;
  first_channel = first;
  options = record.options;
  is_fused = record.is_fused;
  uses_batch_statistics = record.uses_batch_statistics;
  input = record.input;
  samples = channels_of(record.samples, static_cast<std::int64_t>(first),
                        static_cast<std::int64_t>(num_channels));
  is_streamed =
      is_worth_streaming(input.num_elements() * static_cast<std::int64_t>(size_of(input.dtype())));
  layout = samples.layout;
  resize(num_channels);
  adjustment.reset(num_channels);
  const auto take = [&](const std::vector<double>& from, std::vector<double>& to) {
    copy_channels<double>(from, first, to, 0, 1);
  };
  const auto take_affine = [&](const ChannelAffine& from, ChannelAffine& to) {
    take(from.center, to.center), take(from.scale, to.scale), take(from.shift, to.shift);
  };
  take(record.shift, shift);
  take(record.gamma, gamma), take(record.beta, beta);
  take(record.count, count), take(record.variance, variance);
  take(record.moments.count, moments.count);
  take_affine(record.normalization, normalization);
  take_affine(record.output, output);
  const std::size_t num_sums = record.gradient_grid.size() / record.shift.size();
  gradient_grid.resize(num_sums * num_channels);
  if (num_sums > 0)
    copy_channels<std::int64_t>(record.gradient_grid, first, gradient_grid, 0, num_sums);
  next_gradient_grid = gradient_grid;
}

void Record::take_moments(const Record& part) {
  const auto take = [&](const std::vector<double>& from, std::vector<double>& to) {
    copy_channels<double>(from, 0, to, part.first_channel, 1);
  };
  take(part.moments.count, moments.count);
  take(part.moments.offset, moments.offset);
  take(part.moments.variance, moments.variance);
  take(part.normalization.center, normalization.center);
  num_merged_samples = part.num_merged_samples;
  take_rows(part, part.grid, grid);
}

void Record::take_gradient_grid(const Record& part) {
  take_rows(part, part.next_gradient_grid, next_gradient_grid);
}

void Record::take_rows(const Record& part, std::span<const std::int64_t> from,
                       std::vector<std::int64_t>& to) const {
  if (from.empty()) return;
  const std::size_t num_rows = from.size() / part.shift.size();
  to.resize(num_rows * shift.size());
  copy_channels<std::int64_t>(from, 0, to, part.first_channel, num_rows);
}

template <class Visit>
void Record::visit_pieces(AfterSample after_sample, Visit&& visit) const {
  visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    if (!is_part()) return visit(batch, std::int64_t{0});
    for (std::int64_t n = 0; n < samples.count; ++n) {
      visit(sample_of(batch, samples, n), samples.first_of(n));
      after_sample(n);
    }
  });
}

void Record::add_sums(const SumsView& sums, AfterSample after_sample) const {
  visit_pieces(after_sample, [&]<class T>(const NormalizationBatch<T>& batch, std::int64_t) {
    lockstep::add_sums(batch, normalization.center.data(), sums.count.data(), sums.sum.data(),
                       sums.sum_squares.data());
  });
}

void Record::take_range(std::span<double> range) const {
  std::ranges::fill(range, -std::numeric_limits<double>::infinity());
  const auto nothing = [](std::int64_t) {};
  visit_pieces(nothing, [&]<class T>(const NormalizationBatch<T>& batch, std::int64_t) {
    widen_range(batch, range.data(), range.data() + range.size() / 2);
  });
}

void Record::measure_ghosts(std::vector<double>& scratch) {
  const std::size_t num_columns = moments.variance.size();
  const auto measure = [&] {
    scratch.assign(sums_length(num_columns), 0.0);
    add_sums(sums_in(scratch));
    compute_moments(sums_in(scratch), moments);
  };
  measure();
  if (!is_far_anywhere(moments)) return;
  scratch.resize(2 * num_columns);
  take_range(scratch);
  recenter(moments, scratch, parameter_dtype_of(input.dtype()), normalization.center);
  measure();
  spoil_non_finite(moments);
}

void Record::add_ghost(std::int64_t ghost, const SumsView& sums) const noexcept {
  const std::size_t first = static_cast<std::size_t>(ghost) * shift.size();
  for (std::size_t c = 0; c < shift.size(); ++c) {
    if (!(moments.count[first + c] > 0.0)) continue;
    sums.count[c] += 1.0;
    sums.sum[c] += normalization.center[first + c] - shift[c] + moments.offset[first + c];
    sums.sum_squares[c] += moments.variance[first + c];
  }
}

void Record::take_ghost_range(std::span<double> range) const noexcept {
  std::ranges::fill(range, -std::numeric_limits<double>::infinity());
  for (std::size_t column = 0; column < moments.count.size(); ++column) {
    if (!(moments.count[column] > 0.0)) continue;
    const std::size_t c = column % shift.size();
    const double distance =
        std::abs(normalization.center[column] - shift[c] + moments.offset[column]) +
        std::sqrt(moments.variance[column]);
    for (double* value : {&range[c], &range[shift.size() + c]}) {
      const double sign = value == &range[c] ? 1.0 : -1.0;
      const double candidate = sign * shift[c] + distance;
      // std::max would lose a NaN.
      *value = std::isnan(candidate) ? candidate : std::max(*value, candidate);
    }
  }
}

std::int64_t Record::num_samples() const noexcept {
  if (samples_are_channels) return input.num_elements() > 0 ? 1 : 0;
  return input.shape()[0];
}

std::int64_t Record::num_ghosts() const noexcept {
  return layout.num_columns / static_cast<std::int64_t>(shift.size());
}

double Record::largest_sample_weight() const noexcept {
  if (input.num_elements() == 0) return 0.0;
  const auto per_channel =
      static_cast<double>(samples.num_elements) / static_cast<double>(shift.size());
  if (!all().weights.is_given) return per_channel;
  return per_channel * *std::ranges::max_element(all().weights.values);
}

std::optional<Failure> Record::unusable_ghost() const {
  const auto failure_at = [&](ErrorCode code, const char* cause, std::size_t column) {
    return Failure{code, cause, static_cast<std::int64_t>(column % count.size())};
  };
  for (std::size_t column = 0; column < moments.variance.size(); ++column) {
    if (options->nonfinite == Nonfinite::error && !std::isfinite(moments.variance[column]))
      return failure_at(ErrorCode::non_finite, non_finite_message, column);
    if (options->strict && moments.count[column] == 1.0)
      return failure_at(ErrorCode::argument, single_element_message, column);
  }
  return std::nullopt;
}

void Record::take_batch_from_moments() noexcept {
  for (std::size_t c = 0; c < count.size(); ++c) {
    count[c] = moments.count[c];
    mean[c] = count[c] > 0.0 ? normalization.center[c] + moments.offset[c] : 0.0;
    variance[c] = moments.variance[c];
  }
}

// A channel that is not finite in one ghost batch becomes NaN in all of them, on all ranks.
void Record::take_batch_from_ghosts(const SumsView& averages) noexcept {
  for (std::size_t c = 0; c < count.size(); ++c) {
    count[c] = averages.count[c];
    mean[c] = count[c] > 0.0 ? shift[c] + averages.sum[c] / count[c] : 0.0;
    variance[c] = count[c] > 0.0 ? averages.sum_squares[c] / count[c] : 0.0;
  }
  for (std::size_t column = 0; column < moments.variance.size(); ++column)
    if (!std::isfinite(variance[column % count.size()]))
      moments.offset[column] = moments.variance[column] = std::numeric_limits<double>::quiet_NaN();
}

void Record::take_lesson() {
  stored_variance = variance;
  if (options->moving_variance == MovingVariance::unbiased || is_fused)
    for (std::size_t c = 0; c < count.size(); ++c)
      stored_variance[c] *= count[c] / std::max(count[c] - 1.0, 1.0);
  has_pending_shift = is_training;
  has_pending_update = learns;
  if (!learns) return;
  MovingUpdate& pending = update.front();
  pending.count = count;
  pending.mean = mean;
  pending.variance = stored_variance;
}

std::optional<Failure> Record::unusable_batch(DType variable_dtype) const {
  if (num_merged_samples > max_terms)
    return Failure{
        ErrorCode::argument,
        fmt::format("exact statistics take batches of up to {} samples, and this one has "
                    "{}; use Statistics::fast",
                    max_terms, num_merged_samples)};
  for (std::size_t c = 0; c < count.size(); ++c) {
    const auto channel = static_cast<std::int64_t>(c);
    if (options->nonfinite == Nonfinite::error &&
        !std::isfinite(rounded_to(variable_dtype, stored_variance[c])))
      return Failure{ErrorCode::non_finite,
                     fmt::format("the variance of the input overflows {}", name_of(variable_dtype)),
                     channel};
    if (options->strict && !has_ghosts && count[c] == 1.0)
      return Failure{ErrorCode::argument, single_element_message, channel};
  }
  return std::nullopt;
}

double Record::epsilon() const noexcept { return epsilon_of(*options, is_fused); }

double epsilon_of(const BatchNormalizationOptions& options, bool is_fused) noexcept {
  return is_fused ? std::max(options.epsilon, fused_epsilon) : options.epsilon;
}

Content Record::content() const noexcept {
  if (may_be_fused) return weights.is_given ? Content{"weights", 1} : Content{"no weights", 2};
  return {"adjustment", options->adjustment_differs_by_rank ? 0 : adjustment.fingerprint};
}

void Record::link() noexcept {
  output = normalization;
  output.then(r, d);
  if (adjustment.element_scale.empty()) {
    output.then(adjustment.channel_scale, adjustment.channel_bias);
    output.then(gamma, beta);
    return;
  }
  for (std::size_t column = 0; column < factor.size(); ++column) {
    factor[column] = gamma[column % gamma.size()];
    offset[column] = beta[column % beta.size()];
  }
}

void Record::write_output(const MutableTensorView& target, bool has_tape) {
  const bool needs_gates = has_tape && !residual.is_null();
  if (needs_gates) gates.resize(Gates::num_bytes(input.num_elements()));
  visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    has_gates = apply_normalization(batch, view_of(output), target.values<T>().data(),
                                    needs_gates ? gates.data() : nullptr);
  });
}

template <class T>
void Record::add_gradient_sums(const NormalizationBatch<T>& part, const T* output_gradient,
                               const GradientSumsView& sums) const {
  const bool is_adjusted = !sums.bias.empty();
  lockstep::add_gradient_sums(part, view_of(output), view_of(normalization), output_gradient,
                              {sums.output.data(), is_adjusted ? sums.adjusted.data() : nullptr,
                               sums.normalized.data(), is_adjusted ? sums.bias.data() : nullptr});
  if (!is_adjusted || !adjustment.element_scale.empty()) return;
  for (std::size_t column = 0; column < sums.output.size(); ++column) {
    const std::size_t c = column % adjustment.channel_scale.size();
    sums.adjusted[column] *= adjustment.channel_scale[c];
    sums.normalized[column] *= adjustment.channel_scale[c];
    sums.bias[column] = sums.output[column] * adjustment.channel_bias[c];
  }
}
template void Record::add_gradient_sums(const NormalizationBatch<float>&, const float*,
                                        const GradientSumsView&) const;
template void Record::add_gradient_sums(const NormalizationBatch<double>&, const double*,
                                        const GradientSumsView&) const;
template void Record::add_gradient_sums(const NormalizationBatch<Float16>&, const Float16*,
                                        const GradientSumsView&) const;
template void Record::add_gradient_sums(const NormalizationBatch<BFloat16>&, const BFloat16*,
                                        const GradientSumsView&) const;

void Record::add_gradient_sums(const TensorView& output_gradient, const GradientSumsView& sums,
                               AfterSample after_sample) const {
  visit_pieces(after_sample, [&]<class T>(const NormalizationBatch<T>& batch, std::int64_t first) {
    add_gradient_sums(batch, output_gradient.values<T>().data() + first, sums);
  });
}

InputGradientView Record::gradient_view(const InputGradientAffine& affine) const noexcept {
  InputGradientView gradient{normalization.center.data(), affine.a.data(), nullptr, nullptr};
  if (uses_batch_statistics) {
    gradient.p = affine.p.data();
    gradient.q = affine.q.data();
  }
  return gradient;
}

void Record::write_gradients(const TensorView& output_gradient, const InputGradientAffine& affine,
                             const MutableTensorView& input_gradient,
                             const MutableTensorView& residual_gradient) const {
  if (input_gradient.is_null() && residual_gradient.is_null()) return;
  visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    const auto pointer_to = [](const MutableTensorView& target) -> T* {
      return target.is_null() ? nullptr : target.values<T>().data();
    };
    apply_input_gradient(batch, view_of(output), gradient_view(affine),
                         output_gradient.values<T>().data(), pointer_to(input_gradient),
                         pointer_to(residual_gradient));
  });
}

void recenter(const Moments& moments, std::span<const double> range, DType dtype,
              std::span<double> center) noexcept {
  for (std::size_t c = 0; c < center.size(); ++c) {
    const double middle = std::midpoint(range[c], -range[center.size() + c]);
    if (is_far(moments, c) && std::isfinite(middle)) center[c] = rounded_to(dtype, middle);
  }
}

std::optional<Failure> non_finite_input(std::span<const double> range, const Record& record) {
  const std::size_t num_channels = record.shift.size();
  range = range.first(2 * num_channels);
  const auto found = std::ranges::find(range, HUGE_VAL);
  if (found == range.end()) return std::nullopt;
  const auto channel =
      record.first_channel + static_cast<std::size_t>(found - range.begin()) % num_channels;
  return Failure{ErrorCode::non_finite, non_finite_message, static_cast<std::int64_t>(channel)};
}

}  // namespace lockstep
