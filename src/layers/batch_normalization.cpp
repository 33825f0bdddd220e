#include "lockstep/layers/batch_normalization.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <typeinfo>
#include <utility>

#include "base/convert.hpp"
#include "base/turn.hpp"
#include "comm/failure.hpp"
#include "comm/schedule.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/deliver.hpp"
#include "lockstep/layers/population.hpp"
#include "stats/column_layout.hpp"

namespace lockstep {
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
  return record_->variance;
}

std::span<const double> BatchNormalizationTape::batch_count() const noexcept {
  if (!describes_batch()) return {};
  return record_->count;
}

BatchNormalization::BatchNormalization(BatchNormalizationOptions options)
    : Layer({"BatchNormalization", options.name, options.input_shape, options.dtype,
             options.trainable, options.scope}),
      options_(std::move(options)) {
  set_mode(options_.mode);
}

BatchNormalization::~BatchNormalization() = default;
BatchNormalization::BatchNormalization(BatchNormalization&&) noexcept = default;
BatchNormalization& BatchNormalization::operator=(BatchNormalization&&) noexcept = default;

BatchNormalization SyncBatchNormalization(BatchNormalizationOptions options) {
  options.synchronized = true;
  return BatchNormalization(std::move(options));
}

bool BatchNormalization::works_in_place() const noexcept {
  return typeid(*this) == typeid(BatchNormalization);
}

Shape BatchNormalization::output_shape(const Shape& input_shape) const { return input_shape; }

std::unique_ptr<Tape> BatchNormalization::make_tape() const {
  return std::make_unique<BatchNormalizationTape>();
}

void BatchNormalization::forward(const TensorView& input, const MutableTensorView& output,
                                 const Call& call) {
  const Mode mode = mode_of(call);
  if (merges(mode) || parts_ == nullptr) require_built();
  const Turn turn(parts_->is_in_use);
  if (mode == Mode::training) parts_->backward_merges = merges(mode);
  Record& record = uses_batch_statistics(mode) ? normalize_by_batch(input, output, call)
                                               : normalize_by_moving(input, output, call);
  record.link();
  if (!record.is_written) record.write_output(output, call.tape != nullptr);
  record.has_call = true;
  note_output(output);
  if (record.is_measured) measure(record, *call.population);
  if (call.commit == Commit::at_once) commit(call.tape == nullptr ? parts_->tape : *call.tape);
}

BatchNormalization::Record& BatchNormalization::normalize_by_batch(const TensorView& input,
                                                                   const MutableTensorView& output,
                                                                   const Call& call) {
  Exchange& exchange = parts_->exchange(Pass::forward, merges(mode_of(call)));
  Record* record = nullptr;
  auto failure = attempt([&] {
    record = &prepare(input, output, call);
    parts_->center(*record);
  });
  if (exchange.num_parts() > 1)
    parts_->merge_in_groups(record, output, call, std::move(failure));
  else
    parts_->merge_at_once(record, exchange, call.step, std::move(failure));
  if (!record->has_ghosts) record->take_batch_from_moments();
  record->take_lesson();
  if (const auto unusable = record->unusable_batch(parts_->shift->dtype()))
    exchange.raise(unusable);
  normalize_by(record->moments, record->epsilon(), parts_->shift->dtype(), record->normalization);
  if (options_.renorm && !record->is_measured) parts_->renormalize(*record);
  return *record;
}

// Tells what the call has learned instead of keeping it for commit().
void BatchNormalization::measure(Record& record, PopulationRecorder& population) const {
  record.has_pending_shift = false;
  if (std::exchange(record.has_pending_update, false))
    population.add(*this, *parts_->moving->variables().mean, record);
}

BatchNormalization::Record& BatchNormalization::normalize_by_moving(const TensorView& input,
                                                                    const MutableTensorView& output,
                                                                    const Call& call) {
  Record& record = prepare(input, output, call);
  const MovingVariables& moving = parts_->moving->variables();
  read_as_double(moving.mean->value(), record.normalization.center);
  read_as_double(moving.variance->value(), parts_->values);
  normalize_by_constants(parts_->values, record.epsilon(), record.normalization);
  return record;
}

void BatchNormalization::backward(Tape& tape, const TensorView& output_gradient,
                                  const MutableTensorView& input_gradient, Gradients gradients) {
  backward(tape, output_gradient, input_gradient, {}, gradients);
}

void BatchNormalization::backward(Tape& tape, const TensorView& output_gradient,
                                  const MutableTensorView& input_gradient,
                                  const MutableTensorView& residual_gradient, Gradients gradients) {
  require_built();
  Parts& parts = *parts_;
  const Turn turn(parts.is_in_use);
  Record* record = recorded(tape);
  const bool is_merged = record == nullptr ? parts.backward_merges : record->is_training;
  Exchange& exchange = parts.exchange(Pass::backward, is_merged);
  const bool is_global = is_merged && parts.group_is_all && !exchange.group().is_solo();
  const GradientScope scope = is_global ? GradientScope::global : GradientScope::local;
  BatchGradientSums& sums = parts.gradient_sums_of(is_merged);
  auto failure = attempt([&] {
    check_backward(record, output_gradient, input_gradient, residual_gradient);
    for (const Variable* parameter : {parts.gamma, parts.beta})
      if (parameter != nullptr) require_same_scope(*parameter, gradients, scope);
    parts.input_gradient.resize(record->moments.count.size());
  });
  if (exchange.num_parts() > 1)
    parts.merge_gradients_in_groups(record, {output_gradient, input_gradient, residual_gradient},
                                    std::move(failure));
  else
    parts.merge_gradients_at_once(record, output_gradient, exchange, sums, std::move(failure));

  if (!record->is_written) {
    // Ghost batches are this rank's alone, so their own sums belong to their moments.
    parts.differentiate(*record, record->has_ghosts ? sums.of_ghosts() : sums.merged(),
                        parts.input_gradient);
    record->write_gradients(output_gradient, parts.input_gradient, input_gradient,
                            residual_gradient);
  }
  parts.deliver(*record, is_global ? sums.merged() : sums.local(), gradients, scope);
  record->has_pending_gradient_grid = is_merged;
  if (record->is_committed) commit(tape);
}

void BatchNormalization::check_backward(Record* record, const TensorView& output_gradient,
                                        const MutableTensorView& input_gradient,
                                        const MutableTensorView& residual_gradient) const {
  if (record == nullptr)
    throw StateError("backward needs the tape of a call of forward of this layer");
  record->options = &options_;
  record->is_written = false;
  check_gradients(record->input.shape(), output_gradient, input_gradient);
  if (residual_gradient.is_null()) return;
  if (record->residual.is_null())
    throw StateError("the recorded call had no residual, so there is no gradient of it");
  check_gradients(record->input.shape(), output_gradient, residual_gradient);
}

void BatchNormalization::commit(Tape& tape) noexcept {
  Record* record = recorded(tape);
  if (record == nullptr) return;
  record->is_committed = true;
  if (std::exchange(record->has_pending_shift, false)) parts_->learn(*record);
  if (std::exchange(record->has_pending_gradient_grid, false)) parts_->learn_gradients(*record);
  if (!std::exchange(record->has_pending_update, false)) return;
  if (options_.updates == Updates::immediate)
    parts_->moving->apply(record->update.front());
  else
    parts_->moving->defer(record->update);
}

void BatchNormalization::set_momentum(std::optional<double> momentum) {
  BatchNormalizationOptions changed = options_;
  changed.momentum = momentum;
  agree_on("momentum", momentum ? fmt::format("{}", *momentum) : "cumulative");
  if (is_built()) validate(changed, created_for());
  options_ = std::move(changed);
  if (parts_ != nullptr && parts_->moving) parts_->moving->set_momentum(momentum);
}

void BatchNormalization::fail(Pass pass, std::exception_ptr reason) {
  require_built();
  if (reason == nullptr)
    reason = std::make_exception_ptr(StateError("fail() was given no exception as its reason"));
  const bool merged = pass == Pass::forward ? merges(Mode::training) : parts_->backward_merges;
  if (!merged) std::rethrow_exception(reason);
  parts_->exchange(pass, true).merge(-1, attempt([&] { std::rethrow_exception(reason); }));
  throw StateError("the ranks went on without the failure of this one");
}

void BatchNormalization::add_appointments(Pass pass, Schedule& schedule) {
  if (merges(Mode::training)) schedule.add(parts_->exchange(pass, true));
}

bool BatchNormalization::merges(Mode mode) const noexcept {
  return mode == Mode::training &&
         (is_trainable() || options_.frozen_mode != FrozenMode::inference);
}

bool BatchNormalization::uses_batch_statistics(Mode mode) const noexcept {
  return merges(mode) || !options_.track_moving_statistics;
}

void BatchNormalization::require_built() const {
  if (!is_built())
    throw StateError(fmt::format("layer '{}' is not built; call build() on all ranks", name()));
}

// Axes but those of channels may have any extent, and another one on every rank.
bool BatchNormalization::accepts(const Shape& input_shape) const {
  if (input_shape.rank() != created_for().rank() || !input_shape.is_valid()) return false;
  return std::ranges::all_of(parts_->axes,
                             [&](int axis) { return input_shape[axis] == created_for()[axis]; });
}

// Forgets what the tape held before anything can fail: ranks must not differ in what they recorded.
BatchNormalization::Record& BatchNormalization::prepare(const TensorView& input,
                                                        const MutableTensorView& output,
                                                        const Call& call) {
  const Mode mode = mode_of(call);
  Record& record = parts_->record_of(call, mode);
  record.has_call = record.has_pending_shift = record.has_pending_update = false;
  record.has_pending_gradient_grid = record.is_committed = record.has_gates = false;
  record.is_written = false;
  record.num_merged_samples = 0;
  check_call(input, output);
  if (call.tape != nullptr && input.num_elements() > 0 &&
      (input.data() == output.data() || call.residual.data() == output.data()))
    throw ArgumentError(
        "backward needs the input and the residual as they were: with a tape the output must have "
        "memory of its own");
  record.options = &options_;
  record.activation = &parts_->activation;
  record.owner = parts_->number;
  record.step = call.step;
  record.input = input;
  record.uses_batch_statistics = uses_batch_statistics(mode);
  record.is_training = merges(mode);
  record.learns = record.is_training && options_.track_moving_statistics &&
                  (is_trainable() || options_.frozen_mode == FrozenMode::batch_statistics_updating);
  record.is_measured = record.is_training && call.population != nullptr;
  record.has_ghosts = record.is_training && options_.virtual_batch_size.has_value();
  record.is_irregular =
      parts_->is_irregular || (record.has_ghosts && options_.statistics == Statistics::exact);
  if (record.is_training) validate_call(options_, call, input.shape()[0]);
  record.weights.set(call, input.shape());
  record.may_be_fused = parts_->is_fused;
  record.is_fused = record.may_be_fused && !record.weights.is_given;
  record.residual = call.residual;
  if (!call.residual.is_null()) check_residual(call.residual, input);
  record.samples_are_channels = parts_->axes.front() == 0;
  const SampleGroups groups{record.has_ghosts ? *options_.virtual_batch_size : 0,
                            options_.ghost_grouping == GhostGrouping::contiguous};
  record.layout = layout_of(input.shape(), parts_->axes, groups);
  if (!record.has_ghosts) record.samples = samples_of(record.layout, record.num_samples());
  record.resize(parts_->num_channels);
  parts_->read_parameters(record);
  record.adjustment.reset(parts_->num_channels);
  if (record.is_training && !record.is_measured && options_.adjustment != nullptr) adjust(record);
  if (record.learns) parts_->moving->provide(record.update);
  return record;
}

void BatchNormalization::check_residual(const TensorView& residual, const TensorView& input) const {
  residual.check("the residual");
  if (residual.dtype() != input.dtype() || residual.shape() != input.shape())
    throw ArgumentError(fmt::format("expected a residual of {} {}, like the output; got {} {}",
                                    name_of(input.dtype()), to_string(input.shape()),
                                    name_of(residual.dtype()), to_string(residual.shape())));
}

void BatchNormalization::adjust(Record& record) const {
  const Shape& shape = record.input.shape();
  record.adjustment.set(options_.adjustment(shape), shape, parts_->axes,
                        options_.adjustment_differs_by_rank);
  if (record.adjustment.is_per_sample && !options_.adjustment_differs_by_rank &&
      !parts_->forward->group().is_solo())
    throw ArgumentError(
        "an adjustment that differs by sample differs by rank: say so by "
        "adjustment_differs_by_rank = true");
}

BatchNormalization::Record* BatchNormalization::recorded(Tape& tape) const noexcept {
  auto* own = dynamic_cast<BatchNormalizationTape*>(&tape);
  const bool is_usable = own != nullptr && own->record_ != nullptr && own->record_->has_call &&
                         parts_ != nullptr && own->record_->owner == parts_->number;
  return is_usable ? own->record_.get() : nullptr;
}

}  // namespace lockstep
