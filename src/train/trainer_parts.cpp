#include "train/trainer_parts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/convert.hpp"
#include "base/visit_dtype.hpp"
#include "comm/agreement.hpp"
#include "layers/enumeration_names.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// target = factor * source, rounded once. Both may be the same memory.
void write_scaled(const TensorView& source, double factor, const MutableTensorView& target) {
  visit_parameter(source.dtype(), [&]<class From>(TypeTag<From>) {
    visit_floating(target.dtype(), [&]<class To>(TypeTag<To>) {
      std::ranges::transform(source.values<From>(), target.values<To>().begin(),
                             [&](From value) { return static_cast<To>(value * factor); });
    });
  });
}

bool has_function(const Variable* variable) {
  return std::holds_alternative<RegularizerFunction>(variable->regularizer()) ||
         std::holds_alternative<ConstraintFunction>(variable->constraint());
}

// What ranks compare of each parameter: its regularizer and constraint may have been set alone.
std::vector<Property> properties_of(std::span<Variable* const> variables) {
  std::vector<Property> properties;
  for (const Variable* variable : variables) {
    if (variable->role() != VariableRole::parameter) continue;
    properties.push_back(
        {"regularizer of " + variable->name(), to_string(variable->regularizer())});
    properties.push_back({"constraint of " + variable->name(), to_string(variable->constraint())});
  }
  return properties;
}

// Runs what may call a function of the user's own; the variable is named in what it throws.
template <class Body>
void within(const char* what, const Variable& variable, Body&& body) {
  const auto failure = attempt(std::forward<Body>(body));
  if (!failure) return;
  if (failure->origin) rethrow(*failure);
  throw_error(failure->code, fmt::format("{} of '{}': {}", what, variable.name(), failure->cause));
}

}  // namespace

void Trainer::Parts::require(Activity most, const char* call) const {
  if (activity > most)
    throw StateError(fmt::format(
        "{} cannot be called from {}: a rank whose callback failed before would not come", call,
        activity == Activity::step_callbacks ? "on_step_end" : "a callback"));
}

void Trainer::Parts::prepare(const Shape& input_shape) {
  if (gradients) return;
  if (!model.is_built()) model.build(input_shape);
  variables = model.variables();
  const bool has_functions = std::ranges::any_of(variables, has_function);
  const auto failure = attempt([&] {
    optimizer->prepare(variables);
    if (options.loss_scaling) validate(*options.loss_scaling);
    if (has_functions) before_update.emplace(variables, *optimizer);
  });
  std::string metrics;
  for (const auto& metric : options.metrics) metrics += metric->name() + " ";
  std::vector<Property> properties = properties_of(variables);
  properties.insert(properties.end(),
                    {{"optimizer", optimizer->configuration()},
                     {"loss", loss->configuration()},
                     {"metrics", metrics},
                     {"averaging", options.averaging == Averaging::samples ? "samples" : "ranks"},
                     {"loss scaling", to_string(options.loss_scaling)},
                     {"nonfinite", std::string(name_of(options.nonfinite))},
                     {"seed", std::to_string(options.seed)}});
  agree(replicas(), {"trainer", "build", -1}, properties, failure);
  if (has_functions) confirmation.emplace(replicas(), "trainer", "update", 0);
  evaluation.emplace(replicas(), "trainer", "evaluation", num_sums());
  gradients.emplace(replicas(), variables, num_sums() + num_flags);
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

bool Trainer::Parts::meets_now() const noexcept {
  return std::ranges::any_of(meeting_intervals, [&](std::int64_t interval) {
    return interval > 0 && num_steps % interval == 0;
  });
}

std::size_t Trainer::Parts::num_sums() const {
  std::size_t length = first_metric;
  for (const auto& metric : options.metrics) length += static_cast<std::size_t>(metric->num_sums());
  return length;
}

void Trainer::Parts::add_sums(const TensorView& predictions, const TensorView& samples_targets,
                              const MutableTensorView& gradient, std::span<double> sums) {
  const TensorView wide = converted(predictions, parameter_dtype_of(predictions.dtype()), outputs);
  sums[count] += static_cast<double>(wide.shape()[0]);
  sums[loss_sum] += loss->evaluate(wide, samples_targets, gradient);
  std::size_t first = first_metric;
  for (const auto& metric : options.metrics) {
    const auto length = static_cast<std::size_t>(metric->num_sums());
    metric->add(wide, samples_targets, sums.subspan(first, length));
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

double Trainer::Parts::regularization_loss() const {
  double sum = 0.0;
  for (Variable* variable : variables)
    within("the regularizer", *variable, [&] { sum += lockstep::regularization_loss(*variable); });
  return sum;
}

void Trainer::Parts::add_penalty(double penalty, std::span<double> sums) noexcept {
  sums[loss_sum] += penalty * sums[count];
}

Batch Trainer::Parts::read(const Dataset& data, std::span<const std::int64_t> indices) {
  const auto num_samples = static_cast<std::int64_t>(indices.size());
  inputs.resize(data.input_shape().prepended(num_samples), model.dtype());
  targets.resize(data.target_shape().prepended(num_samples), data.target_dtype());
  data.read(indices, inputs, targets);
  return {inputs, targets, indices};
}

Batch Trainer::Parts::no_batch() {
  inputs.resize(model.sample_shape().value().prepended(0), model.dtype());
  return {.inputs = inputs, .targets = {}, .samples = {}, .is_out_of_data = true};
}

Batch Trainer::Parts::load(const Dataset& data, const Rounds& rounds, std::int64_t number) {
  const Sampler& sampler = rounds.sampler;
  if (!rounds.first_sample) {
    const std::int64_t size = std::ssize(sampler.batch(number));
    return read(data, sampler.batch(number, model.strategy().shard_of(size, rounds.unit)));
  }
  if (number >= sampler.num_batches()) return no_batch();
  Batch batch = read(data, sampler.batch(number));
  sample_numbers.assign(batch.samples.begin(), batch.samples.end());
  for (std::int64_t& sample : sample_numbers) sample += *rounds.first_sample;
  batch.samples = sample_numbers;
  return batch;
}

Meeting Trainer::Parts::place() const { return {"trainer", std::string(phase), num_steps}; }

void Trainer::Parts::begin_step() {
  schedule.clear();
  model.add_appointments(Pass::forward, schedule);
  model.add_appointments(Pass::backward, schedule);
  schedule.add(gradients->exchange());
  if (confirmation) schedule.add(*confirmation);
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
  loss_gradient.resize(predictions.shape(), parameter_dtype_of(predictions.dtype()));
  if (!batch.is_out_of_data) add_sums(predictions, batch.targets, loss_gradient, sums);
  flags()[out_of_data] = batch.is_out_of_data ? 1.0 : 0.0;
  step_loss = sums[loss_sum];
  const TensorView output_gradient = scaled_seed(predictions.dtype());
  phase = "regularizers";
  check_functions();
  step_penalty = regularization_loss();
  flags()[nonfinite_penalty] = std::isfinite(step_penalty) ? 0.0 : 1.0;
  phase = "backward";
  model.backward(output_gradient);
  phase = "stop_when";
  flags()[wants_stop] = wants_to_stop() ? 1.0 : 0.0;
  phase = "gradients";
  gradients->merge(num_steps);
  judge_numbers();
  if (confirmation) try_update();
}

// The gradient of the loss as it goes backward: scaled, and of the model's dtype.
TensorView Trainer::Parts::scaled_seed(DType dtype) {
  double factor = loss_scale ? loss_scale->value() : 1.0;
  const double num_samples = gradients->sums()[count];
  if (options.averaging == Averaging::ranks && num_samples > 0.0)
    factor /= num_samples * replicas().size();
  if (loss_scale && loss_scale->is_exhausted())
    throw NonFiniteError(
        "the gradients stay infinite or NaN however small the scale of the loss: a layer's "
        "backward pass gives them, or the training diverges");
  MutableTensorView result = loss_gradient;
  if (is_16_bit(dtype)) {
    seed.resize(loss_gradient.shape(), dtype);
    result = seed;
  }
  write_scaled(loss_gradient, factor, result);
  return result;
}

void Trainer::Parts::check_functions() const {
  if (confirmation) return;
  const auto found = std::ranges::find_if(variables, has_function);
  if (found != variables.end())
    throw StateError(
        fmt::format("variable '{}' got a regularizer or constraint function after the trainer's "
                    "first step; set it before",
                    (*found)->name()));
}

// Decided from merged numbers, so that all ranks do the same.
bool Trainer::Parts::is_update_due() noexcept {
  return gradients->sums()[count] > 0.0 && !is_skipped();
}

// From the merged gradients to the next parameters; throws only what functions of the user's do.
void Trainer::Parts::update() {
  const double num_averaged =
      options.averaging == Averaging::samples ? gradients->sums()[count] : 1.0;
  gradients->finish(num_averaged * (loss_scale ? loss_scale->value() : 1.0));
  for (Variable* variable : variables)
    within("the regularizer", *variable, [&] { add_regularization_gradient(*variable); });
  optimizer->apply();
  for (Variable* variable : variables)
    within("the constraint", *variable, [&] { apply_constraint(*variable); });
}

// An update that stays only when all ranks could make it.
void Trainer::Parts::try_update() {
  phase = "update";
  before_update->take();
  try {
    if (is_update_due()) update();
    confirmation->merge(num_steps, std::nullopt);
  } catch (...) {
    before_update->put_back();
    throw;
  }
}

// Everything has been agreed: from here on nothing throws.
void Trainer::Parts::finish_step() noexcept {
  const std::span<const double> sums = gradients->sums();
  std::ranges::copy(sums.first(step_sums.size()), step_sums.begin());
  record.is_stopping = flags()[wants_stop] > 0.0;
  if (record.is_stopping) stop_requested = false;
  is_stopping = is_stopping || record.is_stopping;
  is_out_of_data = flags()[out_of_data] == static_cast<double>(replicas().size());
  if (is_out_of_data) return;
  add_penalty(step_penalty, step_sums);
  write_scores(step_sums, record.training);
  record.step = num_steps++;
  record.is_skipped = is_skipped();
  if (loss_scale) record.loss_scale = loss_scale->value();
  if (is_update_due()) {
    if (!confirmation) update();
    model.commit();
  }
  if (loss_scale && has_overflowed) loss_scale->back_off();
  if (loss_scale && is_update_due()) loss_scale->grow_after_good_step();
}

}  // namespace lockstep
