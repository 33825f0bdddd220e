#include "layers/batch_normalization_parts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <utility>

#include "base/convert.hpp"
#include "layers/deliver.hpp"
#include "lockstep/base/error.hpp"
#include "norm/renorm.hpp"

namespace lockstep {

using Record = BatchNormalizationTape::Record;

std::uint64_t BatchNormalization::Parts::next_number() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

void BatchNormalization::Parts::prepare(const BatchNormalizationOptions& options) {
  is_adjusted = options.adjustment != nullptr;
  own_gradient_sums = FastGradientSums(num_channels, is_adjusted);
  batch_sums = make_batch_sums(num_channels);
  gradient_sums = make_gradient_sums(num_channels);
  values.resize(num_channels);
  more_values.resize(num_channels);
  input_gradient.resize(num_channels);
  local_range.resize(batch_sums->range_length());
  range.resize(batch_sums->range_length());
}

std::unique_ptr<BatchSums> BatchNormalization::Parts::make_batch_sums(std::size_t n) const {
  if (grid == nullptr) return std::make_unique<FastSums>(n, shift->dtype());
  return std::make_unique<IntegerSums>(n, shift->dtype(), *grid);
}

std::unique_ptr<BatchGradientSums> BatchNormalization::Parts::make_gradient_sums(
    std::size_t n) const {
  if (grid == nullptr) return std::make_unique<FastGradientSums>(n, is_adjusted);
  return std::make_unique<IntegerGradientSums>(n, is_adjusted);
}

Exchange BatchNormalization::Parts::make_exchange(Pass pass, const std::string& layer,
                                                  const Communicator& group) const {
  const std::string who = fmt::format("layer '{}'", layer);
  if (pass == Pass::forward)
    return {group, who, "forward", batch_sums->length(num_channels), batch_sums->payload()};
  return {group, who, "backward", gradient_sums->length(num_channels), gradient_sums->payload()};
}

Exchange& BatchNormalization::Parts::exchange(Pass pass, bool is_merged) noexcept {
  if (pass == Pass::forward) return is_merged ? *forward : *own_forward;
  return is_merged ? *backward : *own_backward;
}

Record& BatchNormalization::Parts::record_of(const Call& call, Mode mode) {
  if (call.tape == nullptr && mode == Mode::training && call.commit == Commit::by_caller)
    throw ArgumentError("a training call that the caller commits needs a tape");
  auto* own = call.tape == nullptr ? &tape : dynamic_cast<BatchNormalizationTape*>(call.tape);
  if (own == nullptr)
    throw ArgumentError("the tape was made for another type of layer; use make_tape()");
  if (own->record_ == nullptr) own->record_ = std::make_unique<Record>();
  return *own->record_;
}

void BatchNormalization::Parts::center(Record& record) const {
  const auto center = std::span(record.normalization.center);
  read_as_double(shift->value(), record.shift);
  if (gradient_grid != nullptr) {
    const auto exponents = std::as_const(*gradient_grid).value().values<std::int64_t>();
    record.gradient_grid.assign(exponents.begin(), exponents.end());
    record.next_gradient_grid = record.gradient_grid;
  }
  if (center.empty()) return;
  std::ranges::copy(record.shift, center.begin());
  for (std::size_t column = num_channels; column < center.size(); ++column)
    center[column] = center[column - num_channels];
}

void BatchNormalization::Parts::read_parameters(Record& record) const noexcept {
  if (gamma != nullptr) read_as_double(gamma->value(), record.gamma);
  if (beta != nullptr) read_as_double(beta->value(), record.beta);
}

void BatchNormalization::Parts::renormalize(Record& record) noexcept {
  const RenormClipping& clipping = record.options->renorm_clipping;
  read_as_double(moving->variables().renorm_mean->value(), values);
  read_as_double(moving->variables().renorm_stddev->value(), more_values);
  lockstep::renormalize(record.count, record.mean, record.variance, record.epsilon(), values,
                        more_values, {clipping.rmin, clipping.rmax, clipping.dmax}, record.r,
                        record.d);
}

void BatchNormalization::Parts::differentiate(const Record& record, const GradientSumsView& sums,
                                              InputGradientAffine& gradient) {
  const auto factor = std::span(values).first(record.gamma.size());
  std::ranges::transform(record.gamma, record.r, factor.begin(), std::multiplies());
  if (record.uses_batch_statistics)
    lockstep::differentiate(sums, record.moments.count, record.normalization, factor, gradient);
  else
    differentiate_constant(record.normalization, factor, gradient);
  for (std::size_t column = 0; column < gradient.a.size(); ++column)
    gradient.a[column] *= record.adjustment.channel_scale[column % factor.size()];
}

// dgamma = sum of G ((xhat r + d) s + b), dbeta = sum of G.
void BatchNormalization::Parts::deliver(const Record& record, const GradientSumsView& sums,
                                        Gradients gradients, GradientScope scope) noexcept {
  for (std::size_t c = 0; c < num_channels; ++c)
    values[c] = record.r[c] * sums.normalized[c] + record.d[c] * sums.adjusted[c] +
                (sums.bias.empty() ? 0.0 : sums.bias[c]);
  if (gamma != nullptr) lockstep::deliver(values, gradients, *gamma, scope);
  if (beta != nullptr) lockstep::deliver(sums.output, gradients, *beta, scope);
}

void BatchNormalization::Parts::learn(const Record& record) noexcept {
  read_as_double(shift->value(), values);
  for (std::size_t c = 0; c < num_channels; ++c)
    if (record.count[c] > 0.0 && std::isfinite(record.mean[c])) values[c] = record.mean[c];
  write_from_double(values, shift->value());
  if (grid != nullptr) std::ranges::copy(record.grid, grid->value().values<std::int64_t>().begin());
  divide(record);
}

void BatchNormalization::Parts::learn_gradients(const Record& record) noexcept {
  if (gradient_grid == nullptr) return;
  std::ranges::copy(record.next_gradient_grid,
                    gradient_grid->value().values<std::int64_t>().begin());
}

}  // namespace lockstep
