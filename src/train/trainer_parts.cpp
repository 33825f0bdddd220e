#include "train/trainer_parts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/visit_dtype.hpp"
#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// The message of a step starts with count, loss, metrics; then whether a rank wants to stop.
enum Sum : std::size_t { count, loss_sum, first_metric };

void scale(const MutableTensorView& tensor, double factor) {
  visit_floating(tensor.dtype(), [&]<class T>(TypeTag<T>) {
    for (T& value : tensor.values<T>()) value = static_cast<T>(value * factor);
  });
}

}  // namespace

void Trainer::Parts::require(Activity most, const char* call) const {
  if (activity > most)
    throw StateError(fmt::format(
        "{} cannot be called from {}: a rank whose callback failed before would not come", call,
        activity == Activity::step_callbacks ? "on_step_end" : "on_epoch_end"));
}

void Trainer::Parts::prepare(const Shape& input_shape) {
  if (gradients) return;
  if (!model.is_built()) model.build(input_shape);
  const auto variables = model.variables();
  const auto failure = attempt([&] { optimizer->prepare(variables); });
  std::string metrics;
  for (const auto& metric : options.metrics) metrics += metric->name() + " ";
  const std::array properties{
      Property{"optimizer", optimizer->configuration()}, Property{"loss", loss->configuration()},
      Property{"metrics", metrics},
      Property{"averaging", options.averaging == Averaging::samples ? "samples" : "ranks"},
      Property{"seed", std::to_string(options.seed)}};
  agree(replicas(), {"trainer", "build", -1}, properties, failure);
  evaluation.emplace(replicas(), "trainer", "evaluation", num_sums());
  gradients.emplace(replicas(), variables, num_sums() + 1);
  step_sums.resize(num_sums());
  record.training.metrics.resize(options.metrics.size());
}

void Trainer::Parts::prepare_for(const Dataset& data, const char* call,
                                 const std::function<void()>& describe) {
  Shape input_shape;
  const auto failure = attempt([&] {
    input_shape = data.input_shape().prepended(1);
    describe();
  });
  // The others are at an agreement too, whichever it is: all have one length.
  if (failure) agree(replicas(), {"trainer", call, -1}, {}, failure);
  prepare(input_shape);
}

std::size_t Trainer::Parts::num_sums() const {
  std::size_t length = first_metric;
  for (const auto& metric : options.metrics) length += static_cast<std::size_t>(metric->num_sums());
  return length;
}

void Trainer::Parts::add_sums(const TensorView& predictions, const TensorView& samples_targets,
                              const MutableTensorView& gradient, std::span<double> sums) const {
  sums[count] += static_cast<double>(predictions.shape()[0]);
  sums[loss_sum] += loss->evaluate(predictions, samples_targets, gradient);
  std::size_t first = first_metric;
  for (const auto& metric : options.metrics) {
    const auto length = static_cast<std::size_t>(metric->num_sums());
    metric->add(predictions, samples_targets, sums.subspan(first, length));
    first += length;
  }
}

void Trainer::Parts::write_scores(std::span<const double> sums, Scores& scores) const {
  scores.num_samples = static_cast<std::int64_t>(sums[count]);
  scores.loss = sums[count] > 0.0 ? sums[loss_sum] / sums[count] : 0.0;
  scores.metrics.resize(options.metrics.size());
  std::size_t first = first_metric;
  for (std::size_t i = 0; i < options.metrics.size(); ++i) {
    const auto length = static_cast<std::size_t>(options.metrics[i]->num_sums());
    scores.metrics[i] = options.metrics[i]->result(sums.subspan(first, length));
    first += length;
  }
}

Batch Trainer::Parts::read(const Dataset& data, std::span<const std::int64_t> indices) {
  const auto num_samples = static_cast<std::int64_t>(indices.size());
  inputs.resize(data.input_shape().prepended(num_samples), model.dtype());
  targets.resize(data.target_shape().prepended(num_samples), data.target_dtype());
  data.read(indices, inputs, targets);
  return {inputs, targets, indices};
}

Meeting Trainer::Parts::place() const { return {"trainer", std::string(phase), num_steps}; }

void Trainer::Parts::begin_step() {
  schedule.clear();
  model.add_appointments(Pass::forward, schedule);
  model.add_appointments(Pass::backward, schedule);
  schedule.add(gradients->exchange());
}

void Trainer::Parts::run_step(const Batch& batch) {
  phase = "forward";
  const Tensor& predictions = model.forward(batch.inputs, {.mode = Mode::training,
                                                           .commit = Commit::by_caller,
                                                           .step = num_steps,
                                                           .seed = options.seed,
                                                           .samples = batch.samples});
  phase = "loss";
  const std::span<double> sums = gradients->sums();
  std::ranges::fill(sums, 0.0);
  sums.back() = stop_requested ? 1.0 : 0.0;
  loss_gradient.resize(predictions.shape(), predictions.dtype());
  add_sums(predictions, batch.targets, loss_gradient, sums);
  if (!std::isfinite(sums[loss_sum]))
    throw NonFiniteError(
        fmt::format("the loss is {}: the predictions or the targets hold NaN or "
                    "infinity, or the training diverges",
                    sums[loss_sum]));
  if (options.averaging == Averaging::ranks && sums[count] > 0.0)
    scale(loss_gradient, 1.0 / (sums[count] * replicas().size()));
  phase = "backward";
  model.backward(loss_gradient);
  phase = "gradients";
  gradients->merge(num_steps);
}

// Everything has been agreed: from here on nothing throws.
void Trainer::Parts::finish_step() noexcept {
  const std::span<const double> sums = gradients->sums();
  std::ranges::copy(sums.first(step_sums.size()), step_sums.begin());
  is_stopping = is_stopping || sums.back() > 0.0;
  write_scores(step_sums, record.training);
  record.step = num_steps++;
  if (!(step_sums[count] > 0.0)) return;
  gradients->finish(options.averaging == Averaging::samples ? step_sums[count] : 1.0);
  optimizer->apply();
  model.commit();
}

}  // namespace lockstep
