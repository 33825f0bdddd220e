#include "lockstep/train/trainer.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <numeric>
#include <set>

#include "base/bytes.hpp"
#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/train/sampler.hpp"
#include "model/pooled_statistics.hpp"
#include "train/trainer_parts.hpp"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

std::string sample_text_of(const Dataset& data) {
  return fmt::format("samples of {} with targets {}", to_string(data.input_shape()),
                     to_string(data.target_shape()));
}

std::string text_of(const Dataset* data) {
  if (data == nullptr) return "none";
  return fmt::format("{} {}", data->num_samples(), sample_text_of(*data));
}

// Of the callbacks that want to meet, each interval once.
std::vector<std::int64_t> meeting_intervals_of(const FitOptions& options) {
  std::set<std::int64_t> intervals;
  for (const auto& callback : options.callbacks)
    if (const std::int64_t interval = callback->meeting_interval(); interval > 0)
      intervals.insert(interval);
  return {intervals.begin(), intervals.end()};
}

std::vector<Property> properties_of(const Dataset& data, const FitOptions& options,
                                    const std::vector<std::int64_t>& meeting_intervals) {
  const bool is_own = options.sharding == Sharding::own_data;
  return {{"sharding", is_own ? "own data" : "global batches"},
          {"data", is_own ? sample_text_of(data) : text_of(&data)},
          {"validation data", text_of(options.validation)},
          {"epochs", std::to_string(options.epochs)},
          {"batch_size", is_own ? "own" : std::to_string(options.batch_size)},
          {"max_steps", options.max_steps ? std::to_string(*options.max_steps) : "none"},
          {"shuffle", options.shuffle ? "true" : "false"},
          {"drop_remainder", options.drop_remainder ? "true" : "false"},
          {"drift_check", std::to_string(options.drift_check)},
          {"seed", std::to_string(options.seed)},
          {"callbacks meet after steps", fmt::format("{}", fmt::join(meeting_intervals, " "))}};
}

void check_options(const FitOptions& options) {
  if (std::ranges::count(options.callbacks, nullptr) > 0)
    throw ArgumentError("a callback is a null pointer");
  if (options.epochs < 0)
    throw ArgumentError(fmt::format("epochs must be >= 0, got {}", options.epochs));
  if (options.max_steps && *options.max_steps < 0)
    throw ArgumentError(fmt::format("max_steps must be >= 0, got {}", *options.max_steps));
  if (options.drift_check < 0)
    throw ArgumentError(fmt::format("drift_check must be >= 0, got {}", options.drift_check));
}

}  // namespace

Trainer::Trainer(Sequential& model, std::unique_ptr<Optimizer> optimizer,
                 std::unique_ptr<const Loss> loss, TrainerOptions options)
    : parts_(std::make_unique<Parts>(model, std::move(optimizer), std::move(loss),
                                     std::move(options))) {
  if (parts_->optimizer == nullptr || parts_->loss == nullptr ||
      std::ranges::count(parts_->options.metrics, nullptr) > 0)
    throw ArgumentError("a trainer's optimizer, loss and metrics must not be null pointers");
}

Trainer::~Trainer() = default;

History Trainer::fit(const Dataset& data, const FitOptions& options) {
  Parts& parts = *parts_;
  parts.require(Activity::none, "fit()");
  std::vector<Property> properties;
  std::optional<Rounds> rounds;
  parts.prepare_for(data, "fit", [&] {
    check_options(options);
    parts.meeting_intervals = meeting_intervals_of(options);
    properties = properties_of(data, options, parts.meeting_intervals);
    rounds.emplace(rounds_of(parts.model, data, options));
  });
  agree(parts.replicas(), {"trainer", "fit", -1}, properties);
  complete(*rounds, parts.replicas(), options);

  History history;
  for (const auto& metric : parts.options.metrics) history.metric_names.push_back(metric->name());
  parts.is_stopping = parts.stop_requested = false;
  parts.carried.reset();
  const Doing asking(parts.stop_when, &options.stop_when);
  parts.begin_run(rounds->order);
  const std::int64_t last_step = parts.num_steps + std::min(options.max_steps.value_or(INT64_MAX),
                                                            INT64_MAX - parts.num_steps);
  for (std::int64_t i = 0; i < options.epochs && parts.num_steps < last_step; ++i) {
    history.epochs.push_back(parts.run_epoch(*this, data, options, *rounds, last_step));
    if (parts.is_stopping) break;
  }
  history.is_stopped =
      parts.is_stopping && parts.num_steps < last_step &&
      (std::ssize(history.epochs) < options.epochs || !history.epochs.back().is_whole);
  parts.meet("on_fit_end", "end of fit", parts.num_steps, [&] {
    for (const auto& callback : options.callbacks) callback->on_fit_end(*this, history);
  });
  return history;
}

// A run that ended within an epoch goes on there, if the batches are the same.
void Trainer::Parts::begin_run(const SamplerOptions& order) {
  if (position.batch > 0 && position.order != order) {
    ++position.epoch;
    position.batch = 0;
  }
  position.order = order;
}

// One pass over the data, validation, callbacks, and a merge that ends it on all ranks alike.
EpochRecord Trainer::Parts::run_epoch(Trainer& trainer, const Dataset& data,
                                      const FitOptions& fit_options, Rounds& rounds,
                                      std::int64_t last_step) {
  const auto start = Clock::now();
  EpochRecord epoch;
  epoch.epoch = position.epoch;
  rounds.sampler.start_epoch(position.epoch);
  if (position.batch == 0 || position.sums.size() != num_sums())
    position.sums.assign(num_sums(), 0.0);
  while (position.batch < rounds.num_batches && num_steps < last_step && !is_stopping) {
    train([&] { return load(data, rounds, position.batch); });
    ++position.batch;
    epoch.num_skipped += record.is_skipped ? 1 : 0;
    if (!is_nonfinite || !record.is_skipped)
      std::ranges::transform(position.sums, step_sums, position.sums.begin(), std::plus());
    if (fit_options.drift_check > 0 && num_steps % fit_options.drift_check == 0) check_replicas();
    const auto call_back = [&] {
      for (const auto& callback : fit_options.callbacks) callback->on_step_end(trainer, record);
    };
    if (meets_now())
      meet("on_step_end", "end of step", record.step, call_back);
    else
      carry("on_step_end", [&] {
        const Doing doing(activity, Activity::step_callbacks);
        call_back();
      });
  }
  write_scores(position.sums, epoch.training);
  epoch.is_whole = position.batch >= rounds.num_batches;
  // Before the validation: when that fails, the next run makes new steps.
  if (epoch.is_whole) {
    ++position.epoch;
    position.batch = 0;
  }
  if (fit_options.validation != nullptr && (epoch.is_whole || !is_stopping))
    epoch.validation =
        evaluate(*fit_options.validation, rounds.first_sample ? 256 : fit_options.batch_size);
  epoch.num_steps = num_steps;
  epoch.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  carry("on_epoch_end", [&] {
    const Doing doing(activity, Activity::meeting_callbacks);
    for (const auto& callback : fit_options.callbacks) callback->on_epoch_end(trainer, epoch);
  });
  std::array<std::int64_t, 1> stop{};
  carry("stop_when", [&] { stop[0] = wants_to_stop() ? 1 : 0; });
  assemble(replicas(), {"trainer", "end of epoch", epoch.epoch},
           std::exchange(carried, std::nullopt));
  allreduce(replicas(), stop, Reduction::maximum);
  is_stopping = is_stopping || stop[0] != 0;
  return epoch;
}

Scores Trainer::evaluate(const Dataset& data, std::int64_t batch_size) {
  parts_->require(Activity::meeting_callbacks, "evaluate()");
  std::vector<Property> properties;
  parts_->prepare_for(data, "evaluate", [&] {
    properties = {{"data", text_of(&data)}, {"batch_size", std::to_string(batch_size)}};
  });
  agree(parts_->replicas(), {"trainer", "evaluate", -1}, properties);
  return parts_->evaluate(data, batch_size);
}

Scores Trainer::Parts::evaluate(const Dataset& data, std::int64_t batch_size) {
  const PooledStatistics pooled(model);
  const std::span<double> sums = evaluation->payload();
  std::ranges::fill(sums, 0.0);
  double penalty = 0.0;
  carry("evaluation", [&] {
    const Sampler sampler(
        {.num_samples = data.num_samples(), .batch_size = batch_size, .shuffle = false});
    for (std::int64_t i = 0; i < sampler.num_batches(); ++i) {
      const auto size = static_cast<std::int64_t>(sampler.batch(i).size());
      const Batch batch = read(data, sampler.batch(i, model.strategy().shard_of(size)));
      add_sums(model.forward(batch.inputs, {.mode = Mode::inference}), batch.targets, {}, sums);
    }
    penalty = regularization_loss();
  });
  evaluation->merge(-1, std::exchange(carried, std::nullopt));
  add_penalty(penalty, sums);
  Scores scores;
  write_scores(sums, scores);
  return scores;
}

Tensor Trainer::predict(const Dataset& data, std::int64_t batch_size) {
  Parts& parts = *parts_;
  parts.require(Activity::meeting_callbacks, "predict()");
  std::vector<Property> properties;
  parts.prepare_for(data, "predict", [&] { properties = {{"data", text_of(&data)}}; });
  const Communicator& replicas = parts.replicas();
  const Shard shard = parts.model.strategy().shard_of(data.num_samples());
  Tensor local, all;
  const auto predict_shard = [&] {
    if (batch_size < 1)
      throw ArgumentError(fmt::format("batch_size must be positive, got {}", batch_size));
    std::vector<std::int64_t> indices(static_cast<std::size_t>(shard.count));
    std::iota(indices.begin(), indices.end(), shard.first);
    for (std::int64_t first = 0; first == 0 || first < shard.count; first += batch_size) {
      const std::int64_t count = std::min(batch_size, shard.count - first);
      const Batch batch =
          parts.read(data, std::span(indices).subspan(static_cast<std::size_t>(first),
                                                      static_cast<std::size_t>(count)));
      const Tensor& outputs = parts.model.forward(batch.inputs, {.mode = Mode::inference});
      if (first == 0) {
        local = Tensor(outputs.shape().with(0, shard.count), outputs.dtype());
        all = Tensor(outputs.shape().with(0, data.num_samples()), outputs.dtype());
      }
      const MutableTensorView rows = MutableTensorView(local).rows(first, count);
      copy_bytes(outputs, rows);
    }
  };
  const PooledStatistics pooled(parts.model);
  const auto failure = attempt(predict_shard);
  agree(replicas, {"trainer", "predict", -1}, properties, failure);

  auto* target = static_cast<std::byte*>(all.data());
  for (const auto& part : allgather_varying(replicas, bytes_of(TensorView(local))))
    target = std::ranges::copy(part, target).out;
  return all;
}

const StepRecord& Trainer::step(const TensorView& inputs, const TensorView& targets,
                                std::span<const std::int64_t> samples) {
  parts_->require(Activity::none, "step()");
  parts_->make([&] {
    parts_->prepare(inputs.shape());
    parts_->train([&] { return Batch{inputs, targets, samples}; });
  });
  return parts_->record;
}

void Trainer::request_stop() noexcept { parts_->stop_requested = true; }
Sequential& Trainer::model() noexcept { return parts_->model; }
Optimizer& Trainer::optimizer() noexcept { return *parts_->optimizer; }
std::int64_t Trainer::num_steps() const noexcept { return parts_->num_steps; }
std::int64_t Trainer::num_epochs() const noexcept { return parts_->position.epoch; }
double Trainer::loss_scale() const noexcept {
  return parts_->loss_scale ? parts_->loss_scale->value() : 1.0;
}

}  // namespace lockstep
