#include "lockstep/layers/batch_normalization.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "base/convert.hpp"
#include "base/visit_dtype.hpp"
#include "comm/schedule.hpp"
#include "kernels/normalization.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/deliver.hpp"
#include "stats/column_layout.hpp"

namespace lockstep {
namespace {

// The failure of this rank when its own input was not finite; `range` is [2 * channels].
std::optional<Failure> non_finite_input(std::span<const double> range) {
  const auto found = std::ranges::find(range, HUGE_VAL);
  if (found == range.end()) return std::nullopt;
  const auto channel = static_cast<std::size_t>(found - range.begin()) % (range.size() / 2);
  return Failure{ErrorCode::non_finite, "the input holds NaN or infinity",
                 static_cast<std::int64_t>(channel)};
}

// The first channel whose variance, times `correction`, its variable cannot hold.
std::optional<std::int64_t> first_unstorable(std::span<const double> values, double correction,
                                             DType dtype) {
  const auto found = std::ranges::find_if_not(
      values, [&](double value) { return std::isfinite(rounded_to(dtype, value * correction)); });
  if (found == values.end()) return std::nullopt;
  return found - values.begin();
}

// Where numbers were lost, so that the output says it: 1 / sqrt(infinity) would be 0.
void spoil_non_finite(Moments& moments) {
  for (std::size_t c = 0; c < moments.variance.size(); ++c)
    if (!std::isfinite(moments.variance[c]) || !std::isfinite(moments.offset[c]))
      moments.variance[c] = moments.offset[c] = std::numeric_limits<double>::quiet_NaN();
}

void multiply(std::span<double> values, std::span<const double> factors) {
  std::ranges::transform(values, factors, values.begin(), std::multiplies());
}

}  // namespace

BatchNormalizationTape::BatchNormalizationTape() : record_(std::make_unique<Record>()) {}
BatchNormalizationTape::~BatchNormalizationTape() = default;
BatchNormalizationTape::BatchNormalizationTape(BatchNormalizationTape&&) noexcept = default;
BatchNormalizationTape& BatchNormalizationTape::operator=(BatchNormalizationTape&&) noexcept =
    default;

bool BatchNormalizationTape::describes_batch() const noexcept {
  return record_ != nullptr && record_->has_call && record_->uses_batch_statistics;
}

std::span<const double> BatchNormalizationTape::batch_mean() const noexcept {
  if (!describes_batch()) return {};
  return record_->mean;
}

std::span<const double> BatchNormalizationTape::batch_variance() const noexcept {
  if (!describes_batch()) return {};
  return record_->moments.variance;
}

double BatchNormalizationTape::batch_count() const noexcept {
  return describes_batch() ? record_->moments.count : 0.0;
}

BatchNormalization::BatchNormalization(BatchNormalizationOptions options)
    : Layer({"BatchNormalization", options.name, options.input_shape, options.dtype,
             options.trainable}),
      options_(std::move(options)) {}

BatchNormalization::~BatchNormalization() = default;
BatchNormalization::BatchNormalization(BatchNormalization&&) noexcept = default;
BatchNormalization& BatchNormalization::operator=(BatchNormalization&&) noexcept = default;

BatchNormalization SyncBatchNormalization(BatchNormalizationOptions options) {
  options.synchronized = true;
  return BatchNormalization(std::move(options));
}

Shape BatchNormalization::output_shape(const Shape& input_shape) const { return input_shape; }

std::unique_ptr<Tape> BatchNormalization::make_tape() const {
  return std::make_unique<BatchNormalizationTape>();
}

void BatchNormalization::do_create(const Shape& input_shape) {
  validate(options_, input_shape);
  auto parts = std::make_unique<Parts>();
  parts->axis = resolved_axis(options_.axis.values().front(), input_shape);
  const std::int64_t num_channels = input_shape[parts->axis];
  parts->num_channels = static_cast<std::size_t>(num_channels);
  const auto add = [&](const char* name, const Initializer& initializer, VariableRole role) {
    return &add_variable(name, Shape{num_channels}, initializer, role);
  };
  if (options_.scale)
    parts->gamma = add("gamma", options_.gamma_initializer, VariableRole::parameter);
  if (options_.center)
    parts->beta = add("beta", options_.beta_initializer, VariableRole::parameter);
  const auto add_statistic = [&](const char* name, const Initializer& initializer) {
    return add(name, initializer, VariableRole::statistic);
  };
  MovingVariables moving;
  moving.mean = add_statistic("moving_mean", options_.moving_mean_initializer);
  moving.variance = add_statistic("moving_variance", options_.moving_variance_initializer);
  if (options_.zero_debias_moving_mean) {
    moving.biased_mean = add("moving_mean/biased", Zeros{}, VariableRole::state);
    moving.local_step =
        &add_variable("moving_mean/local_step", Tensor({}, dtype()), VariableRole::state);
  }
  if (options_.renorm) {
    moving.stddev = add_statistic("moving_stddev", Zeros{});
    moving.renorm_mean = add_statistic("renorm_mean", Zeros{});
    moving.renorm_stddev = add_statistic("renorm_stddev", Zeros{});
  }
  moving.num_updates = &add_variable("num_updates", Tensor({}, DType::int64), VariableRole::state);
  parts->shift = add("shift", Zeros{}, VariableRole::state);
  parts->shift->assign(moving.mean->value());
  parts->resize();
  read_as_double(moving.variance->value(), parts->values);
  for (const double variance : parts->values)
    if (!(variance >= 0.0))
      throw ArgumentError(
          fmt::format("moving_variance_initializer gives {}; a variance is >= 0", variance));
  if (options_.renorm) {
    moving.renorm_mean->assign(moving.mean->value());
    for (double& variance : parts->values) variance = std::sqrt(variance);
    write_from_double(parts->values, moving.stddev->value());
    write_from_double(parts->values, moving.renorm_stddev->value());
  }
  parts->moving.emplace(options_, moving);
  parts_ = std::move(parts);
}

void BatchNormalization::do_connect(const Communicator& replicas) {
  const Communicator alone;
  const Communicator& group = options_.synchronized ? replicas : alone;
  if (!group.is_solo() && parts_->axis == 0)
    throw ArgumentError(fmt::format(
        "layer '{}': the batch axis cannot be the channel axis when synchronized over {} ranks",
        name(), group.size()));
  const std::string who = fmt::format("layer '{}'", name());
  parts_->forward.emplace(group, who, "forward", sums_length(parts_->num_channels));
  parts_->backward.emplace(group, who, "backward", gradient_sums_length(parts_->num_channels));
}

void BatchNormalization::forward(const TensorView& input, const MutableTensorView& output,
                                 const Call& call) {
  const bool merges = uses_batch_statistics(mode_of(call));
  if (merges || parts_ == nullptr) require_built();
  if (mode_of(call) == Mode::training) parts_->backward_merges = merges;
  Record& record =
      merges ? normalize_by_batch(input, output, call) : normalize_by_moving(input, output, call);
  ChannelAffine& affine = parts_->output;
  affine = record.normalization;
  affine.then(record.r, record.d);
  parts_->read_parameters();
  affine.then(parts_->factor, parts_->offset);
  visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) {
    apply_affine(input.values<T>().data(), record.columns, affine.center.data(),
                 affine.scale.data(), affine.shift.data(), output.values<T>().data());
  });
  record.has_call = true;
  if (call.commit == Commit::at_once) commit(call.tape == nullptr ? parts_->tape : *call.tape);
}

BatchNormalization::Record& BatchNormalization::normalize_by_batch(const TensorView& input,
                                                                   const MutableTensorView& output,
                                                                   const Call& call) {
  Exchange& exchange = *parts_->forward;
  const SumsView sums = sums_in(exchange.payload());
  Record* record = nullptr;
  const auto take_sums = [&] {
    record = &prepare(input, output, call);
    read_as_double(parts_->shift->value(), record->normalization.center);
    std::ranges::fill(exchange.payload(), 0.0);
    record->add_sums(sums);
  };
  exchange.merge(call.step, attempt(take_sums));
  compute_moments(sums, record->moments);
  if (is_far_anywhere(record->moments)) recenter(*record);
  if (options_.nonfinite == Nonfinite::error)
    if (const auto channel =
            first_unstorable(record->moments.variance,
                             variance_correction(options_, record->moments.count), dtype()))
      exchange.raise(Failure{
          ErrorCode::non_finite,
          fmt::format("the variance of the input overflows {}", name_of(dtype())), *channel});
  normalize_by(record->moments, options_.epsilon, record->normalization);
  for (std::size_t c = 0; c < parts_->num_channels; ++c)
    record->mean[c] = record->normalization.center[c] + record->moments.offset[c];
  if (options_.renorm) parts_->renormalize(options_, *record);

  MovingUpdate& update = record->update.front();
  update.count = record->moments.count;
  update.mean = record->mean;
  update.variance = record->moments.variance;
  record->has_pending_shift = update.count > 0.0;
  record->has_pending_update =
      is_trainable() || options_.frozen_mode == FrozenMode::batch_statistics_updating;
  return *record;
}

// The range round: where the merged sums say that the center was far from the mean, the midpoint of
// the values replaces it, since var >= range^2 / (2 W) about it. NaN and infinity show up here too.
// Every rank decides from merged numbers, so all decide alike.
void BatchNormalization::recenter(Record& record) {
  Parts& parts = *parts_;
  Exchange& exchange = *parts.forward;
  record.take_range(parts.local_range);
  parts.range = parts.local_range;
  exchange.maximum(parts.range);
  if (options_.nonfinite == Nonfinite::error && non_finite_input(parts.range))
    exchange.raise(non_finite_input(parts.local_range));

  for (std::size_t c = 0; c < parts.num_channels; ++c) {
    const double middle = std::midpoint(parts.range[c], -parts.range[parts.num_channels + c]);
    if (is_far(record.moments, c) && std::isfinite(middle))
      record.normalization.center[c] = rounded_to(dtype(), middle);
  }
  std::ranges::fill(exchange.payload(), 0.0);
  record.add_sums(sums_in(exchange.payload()));
  exchange.merge_again();
  compute_moments(sums_in(exchange.payload()), record.moments);
  spoil_non_finite(record.moments);
}

BatchNormalization::Record& BatchNormalization::normalize_by_moving(const TensorView& input,
                                                                    const MutableTensorView& output,
                                                                    const Call& call) {
  Record& record = prepare(input, output, call);
  const MovingVariables& moving = parts_->moving->variables();
  read_as_double(moving.mean->value(), record.normalization.center);
  read_as_double(moving.variance->value(), parts_->values);
  normalize_by_constants(parts_->values, options_.epsilon, record.normalization);
  return record;
}

void BatchNormalization::backward(Tape& tape, const TensorView& output_gradient,
                                  const MutableTensorView& input_gradient, Gradients gradients) {
  require_built();
  Parts& parts = *parts_;
  Exchange& exchange = *parts.backward;
  const Record* record = recorded(tape);
  const auto take_sums = [&] {
    if (record == nullptr)
      throw StateError("backward needs the tape of a call of forward of this layer");
    check_gradients(record->input.shape(), output_gradient, input_gradient);
    std::ranges::fill(exchange.payload(), 0.0);
    record->add_gradient_sums(output_gradient, gradient_sums_in(exchange.payload()));
  };
  const GradientSumsView sums = gradient_sums_in(exchange.payload());
  parts.read_parameters();
  if (record != nullptr) multiply(parts.factor, record->r);
  const bool is_merged = record == nullptr ? parts.backward_merges : record->uses_batch_statistics;
  if (is_merged) {
    exchange.merge(record == nullptr ? -1 : record->step, attempt(take_sums));
    differentiate(sums, record->moments.count, record->normalization, parts.factor,
                  parts.input_gradient);
  } else {
    take_sums();
    differentiate_constant(record->normalization, parts.factor, parts.input_gradient);
  }
  if (!input_gradient.is_null())
    record->write_input_gradient(output_gradient, parts.input_gradient, input_gradient);
  const auto scope =
      is_merged && !exchange.group().is_solo() ? GradientScope::global : GradientScope::local;
  if (parts.gamma != nullptr) {
    for (std::size_t c = 0; c < parts.num_channels; ++c)
      parts.values[c] = record->r[c] * sums.normalized[c] + record->d[c] * sums.output[c];
    deliver(parts.values, gradients, *parts.gamma, scope);
  }
  if (parts.beta != nullptr) deliver(sums.output, gradients, *parts.beta, scope);
}

void BatchNormalization::commit(Tape& tape) noexcept {
  Record* record = recorded(tape);
  if (record == nullptr) return;
  if (std::exchange(record->has_pending_shift, false)) parts_->move_shift(record->mean);
  if (!std::exchange(record->has_pending_update, false)) return;
  if (options_.updates == Updates::immediate)
    parts_->moving->apply(record->update.front());
  else
    parts_->deferred.splice(parts_->deferred.end(), record->update);
}

void BatchNormalization::apply_updates() noexcept {
  if (parts_ == nullptr) return;
  for (const MovingUpdate& update : parts_->deferred) parts_->moving->apply(update);
  parts_->spare.splice(parts_->spare.end(), parts_->deferred);
}

void BatchNormalization::fail(Pass pass, std::exception_ptr reason) {
  require_built();
  if (reason == nullptr)
    reason = std::make_exception_ptr(StateError("fail() was given no exception as its reason"));
  const bool merges =
      pass == Pass::forward ? uses_batch_statistics(Mode::training) : parts_->backward_merges;
  if (!merges) std::rethrow_exception(reason);
  Exchange& exchange = pass == Pass::forward ? *parts_->forward : *parts_->backward;
  exchange.merge(-1, attempt([&] { std::rethrow_exception(reason); }));
  throw StateError("the ranks went on without the failure of this one");
}

void BatchNormalization::add_appointments(Pass pass, Schedule& schedule) {
  if (uses_batch_statistics(Mode::training))
    schedule.add(pass == Pass::forward ? *parts_->forward : *parts_->backward);
}

bool BatchNormalization::uses_batch_statistics(Mode mode) const noexcept {
  return mode == Mode::training &&
         (is_trainable() || options_.frozen_mode != FrozenMode::inference);
}

void BatchNormalization::require_built() const {
  if (!is_built())
    throw StateError(fmt::format("layer '{}' is not built; call build() on all ranks", name()));
}

// Forgets what the tape held before anything can fail: ranks must not differ in what they recorded.
BatchNormalization::Record& BatchNormalization::prepare(const TensorView& input,
                                                        const MutableTensorView& output,
                                                        const Call& call) {
  Record& record = parts_->record_of(call);
  record.has_call = record.has_pending_shift = record.has_pending_update = false;
  check_call(input, output);
  if (input.shape()[parts_->axis] != static_cast<std::int64_t>(parts_->num_channels))
    throw ArgumentError(fmt::format("expected {} channels along axis {}, got an input of shape {}",
                                    parts_->num_channels, options_.axis.values().front(),
                                    to_string(input.shape())));
  record.resize(parts_->num_channels);
  parts_->provide_update(record);
  record.owner = parts_->number;
  record.input = input;
  record.columns = columns_of(input.shape(), parts_->axis);
  record.step = call.step;
  record.uses_batch_statistics = uses_batch_statistics(mode_of(call));
  return record;
}

BatchNormalization::Record* BatchNormalization::recorded(Tape& tape) const noexcept {
  auto* own = dynamic_cast<BatchNormalizationTape*>(&tape);
  const bool is_usable = own != nullptr && own->record_ != nullptr && own->record_->has_call &&
                         parts_ != nullptr && own->record_->owner == parts_->number;
  return is_usable ? own->record_.get() : nullptr;
}

}  // namespace lockstep
