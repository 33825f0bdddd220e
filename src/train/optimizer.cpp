#include "lockstep/train/optimizer.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <cmath>
#include <utility>

#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void require(bool holds, std::string_view what, double value) {
  if (!holds) throw ArgumentError(fmt::format("an optimizer needs {}, got {}", what, value));
}

double squared_norm_of(const TensorView& gradient) {
  return visit_parameter(gradient.dtype(), [&]<class T>(TypeTag<T>) {
    double sum = 0.0;
    for (const double value : gradient.values<T>()) sum += value * value;
    return sum;
  });
}

std::string clip_text(const std::optional<double>& clip_norm) {
  return clip_norm ? fmt::format(", clip_norm {}", *clip_norm) : std::string();
}

}  // namespace

Optimizer::Optimizer(const LearningRate& learning_rate, std::optional<double> clip_norm)
    : schedule_(learning_rate), clip_norm_(clip_norm) {}

Optimizer::~Optimizer() = default;
Optimizer::Optimizer(Optimizer&&) noexcept = default;
Optimizer& Optimizer::operator=(Optimizer&&) noexcept = default;

void Optimizer::check_options() const {
  validate(schedule_);
  if (clip_norm_) require(*clip_norm_ > 0.0, "a clip_norm > 0", *clip_norm_);
}

void Optimizer::set_learning_rate(const LearningRate& learning_rate) {
  validate(learning_rate);
  schedule_ = learning_rate;
}

void Optimizer::prepare(std::span<Variable* const> variables) {
  check_options();
  std::vector<Parameter> parameters;
  for (Variable* variable : variables) {
    if (variable->role() != VariableRole::parameter) continue;
    if (!is_floating(variable->dtype()) || is_16_bit(variable->dtype()))
      throw ArgumentError(fmt::format("the parameter '{}' is {}; only float32 and float64 train",
                                      variable->name(), lockstep::name_of(variable->dtype())));
    std::vector<Tensor> slots(slot_names().size(), Tensor(variable->shape(), variable->dtype()));
    parameters.push_back({variable, std::move(slots)});
  }
  num_steps_ = Tensor(Shape{}, DType::int64);
  parameters_ = std::move(parameters);
}

void Optimizer::apply() noexcept {
  if (num_steps_.num_elements() == 0) return;
  rate_ = learning_rate();
  ++num_steps_.values<std::int64_t>()[0];
  const double factor = gradient_factor();
  for (Parameter& parameter : parameters_)
    if (parameter.variable->is_trainable()) update(*parameter.variable, parameter.slots, factor);
}

double Optimizer::gradient_factor() const noexcept {
  if (!clip_norm_) return 1.0;
  double squared_norm = 0.0;
  for (const Parameter& parameter : parameters_)
    if (parameter.variable->is_trainable())
      squared_norm += squared_norm_of(parameter.variable->grad());
  const double norm = std::sqrt(squared_norm);
  return norm > *clip_norm_ ? *clip_norm_ / norm : 1.0;
}

std::int64_t Optimizer::num_steps() const noexcept {
  return num_steps_.num_elements() == 0 ? 0 : num_steps_.values<std::int64_t>()[0];
}

std::vector<Optimizer::State> Optimizer::state() {
  if (num_steps_.num_elements() == 0) return {};
  std::vector<State> result{{"num_steps", &num_steps_}};
  for (Parameter& parameter : parameters_)
    for (std::size_t i = 0; i < parameter.slots.size(); ++i)
      result.push_back(
          {fmt::format("{}/{}", parameter.variable->name(), slot_names()[i]), &parameter.slots[i]});
  return result;
}

Sgd::Sgd(SgdOptions options)
    : Optimizer(options.learning_rate, options.clip_norm), options_(options) {}

std::string Sgd::name() const { return "sgd"; }

std::string Sgd::configuration() const {
  return fmt::format("sgd, learning_rate {}, momentum {}{}{}", to_string(schedule()),
                     options_.momentum, options_.nesterov ? ", nesterov" : "",
                     clip_text(clip_norm()));
}

void Sgd::check_options() const {
  Optimizer::check_options();
  require(options_.momentum >= 0.0 && options_.momentum <= 1.0, "a momentum in [0, 1]",
          options_.momentum);
}

std::span<const std::string_view> Sgd::slot_names() const noexcept {
  static constexpr std::array<std::string_view, 1> names{"velocity"};
  return std::span(names).first(options_.momentum == 0.0 ? 0 : 1);
}

void Sgd::update(Variable& variable, std::span<Tensor> slots,
                 double gradient_factor) const noexcept {
  const double scaled_rate = rate() * gradient_factor;
  const double momentum = options_.momentum;
  visit_parameter(variable.dtype(), [&]<class T>(TypeTag<T>) {
    const auto gradients = std::as_const(variable).grad().values<T>();
    const auto values = variable.value().values<T>();
    const auto velocities = slots.empty() ? std::span<T>() : slots[0].values<T>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double descent = -scaled_rate * gradients[i];
      double change = descent;
      if (!velocities.empty()) {
        const double velocity = momentum * velocities[i] + descent;
        velocities[i] = static_cast<T>(velocity);
        change = options_.nesterov ? momentum * velocity + descent : velocity;
      }
      values[i] = static_cast<T>(values[i] + change);
    }
  });
}

Adam::Adam(AdamOptions options)
    : Optimizer(options.learning_rate, options.clip_norm), options_(options) {}

std::string Adam::name() const { return "adam"; }

std::string Adam::configuration() const {
  return fmt::format("adam, learning_rate {}, beta_1 {}, beta_2 {}, epsilon {}{}",
                     to_string(schedule()), options_.beta_1, options_.beta_2, options_.epsilon,
                     clip_text(clip_norm()));
}

void Adam::check_options() const {
  Optimizer::check_options();
  require(options_.beta_1 >= 0.0 && options_.beta_1 < 1.0, "a beta_1 in [0, 1)", options_.beta_1);
  require(options_.beta_2 >= 0.0 && options_.beta_2 < 1.0, "a beta_2 in [0, 1)", options_.beta_2);
  // With 0 a parameter without gradient would become 0 / 0.
  require(options_.epsilon > 0.0, "an epsilon > 0", options_.epsilon);
}

std::span<const std::string_view> Adam::slot_names() const noexcept {
  static constexpr std::array<std::string_view, 2> names{"first_moment", "second_moment"};
  return names;
}

void Adam::update(Variable& variable, std::span<Tensor> slots,
                  double gradient_factor) const noexcept {
  const auto t = static_cast<double>(num_steps());
  const double scaled_rate =
      rate() * std::sqrt(1.0 - std::pow(options_.beta_2, t)) / (1.0 - std::pow(options_.beta_1, t));
  visit_parameter(variable.dtype(), [&]<class T>(TypeTag<T>) {
    const auto gradients = std::as_const(variable).grad().values<T>();
    const auto values = variable.value().values<T>();
    const auto first = slots[0].values<T>();
    const auto second = slots[1].values<T>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double g = gradient_factor * gradients[i];
      const double m = first[i] + (g - first[i]) * (1.0 - options_.beta_1);
      const double v = second[i] + (g * g - second[i]) * (1.0 - options_.beta_2);
      first[i] = static_cast<T>(m);
      second[i] = static_cast<T>(v);
      values[i] = static_cast<T>(values[i] - scaled_rate * m / (std::sqrt(v) + options_.epsilon));
    }
  });
}

}  // namespace lockstep
