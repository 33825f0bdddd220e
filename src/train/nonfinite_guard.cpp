// What a step does about a loss or gradients that are not finite.
//
// The merged numbers show it to all ranks at no cost. Only then do ranks look for where it began,
// in the order in which a step makes its numbers, and who comes first is named: NaN spreads to what
// is made later, and through merges to other ranks.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/finite.hpp"
#include "base/log.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "train/trainer_parts.hpp"

namespace lockstep {
namespace {

// Numbers of a step in that order; gradients of parameters from the last one on. Where those of no
// rank are at fault their sum is.
enum Number : std::int64_t {
  of_loss,
  of_loss_gradient,
  of_penalty,
  of_last_parameter,
  of_sum = INT64_MAX
};

std::string text_of(const std::string& what, const TensorView& tensor) {
  const Element found = first_nonfinite(tensor).value();
  return fmt::format("{} is {} at element {} of {}", what, found.value, found.index,
                     to_string(tensor.shape()));
}

// The innermost layer that has the variable.
const Layer* owner_of(const Variable& variable, Layer& layer) {
  for (const auto& inner : layer.inner_layers())
    if (const Layer* owner = owner_of(variable, *inner)) return owner;
  return std::ranges::count(layer.variables(), &variable) > 0 ? &layer : nullptr;
}

std::string owner_text_of(const Variable& variable, Sequential& model) {
  for (Layer* layer : model.layers())
    if (const Layer* owner = owner_of(variable, *layer))
      return fmt::format("layer '{}'", owner->name());
  return fmt::format("model '{}'", model.name());
}

}  // namespace

// Decided from merged numbers, so that all ranks do the same.
void Trainer::Parts::judge_numbers() {
  const bool is_loss_finite =
      std::isfinite(gradients->sums()[loss_sum]) && flags()[nonfinite_penalty] == 0.0;
  const bool is_gradient_finite = gradients->is_finite();
  has_overflowed = loss_scale && is_loss_finite && !is_gradient_finite;
  is_nonfinite = !has_overflowed && !(is_loss_finite && is_gradient_finite);
  if (is_nonfinite) report_nonfinite();
}

// Throws on all ranks, or the ranks where it began say so.
void Trainer::Parts::report_nonfinite() {
  const std::int64_t own = first_nonfinite_number();
  std::array<std::int64_t, 1> first{-own};
  allreduce(replicas(), first, Reduction::maximum);
  std::optional<Failure> failure;
  if (own == -first[0]) {
    auto trouble = attempt([&] { failure = nonfinite_failure(own); });
    if (trouble) failure = std::move(trouble);
  }
  if (options.nonfinite == Nonfinite::error) gradients->exchange().raise(failure);
  if (!failure) return;
  static_cast<void>(attempt([&] {
    const Meeting at = failure->place.value_or(place());
    const std::string who = replicas().is_solo()
                                ? std::string()
                                : fmt::format("rank {} on {}: ", replicas().rank(), host_name());
    warn(fmt::format("{}{}, {}, step {}: {}; the step {}", who, at.layer, at.phase, at.step,
                     failure->cause, is_skipped() ? "is skipped" : "goes on"));
  }));
}

std::int64_t Trainer::Parts::first_nonfinite_number() const noexcept {
  if (!std::isfinite(step_loss)) return of_loss;
  if (first_nonfinite(loss_gradient)) return of_loss_gradient;
  if (!std::isfinite(step_penalty)) return of_penalty;
  const auto found = std::find_if(variables.rbegin(), variables.rend(), [](const Variable* v) {
    return v->is_trainable() && first_nonfinite(std::as_const(*v).grad());
  });
  return found == variables.rend() ? of_sum : of_last_parameter + (found - variables.rbegin());
}

Failure Trainer::Parts::nonfinite_failure(std::int64_t number) const {
  const auto failure = [&](std::string layer, const char* where, std::string cause) {
    return Failure{ErrorCode::non_finite, std::move(cause), -1, nullptr,
                   Meeting{std::move(layer), where, num_steps}};
  };
  constexpr const char* why = "hold NaN or infinity, or the training diverges";
  if (number == of_loss)
    return failure(
        "trainer", "loss",
        fmt::format("the loss is {}: the predictions or the targets {}", step_loss, why));
  if (number == of_loss_gradient)
    return failure("trainer", "loss", text_of("the gradient of the loss", loss_gradient));
  if (number == of_penalty)
    return failure(
        "trainer", "regularizers",
        fmt::format("the regularizers' penalty is {}: parameters {}", step_penalty, why));
  if (number == of_sum)
    return failure("trainer", "gradients",
                   "the loss or a gradient is not finite when those of all ranks are added up");
  const Variable& variable =
      *variables[variables.size() - 1 - static_cast<std::size_t>(number - of_last_parameter)];
  const char* whose =
      variable.gradient_scope() == GradientScope::global ? ", summed over the ranks," : "";
  return failure(
      owner_text_of(variable, model), "gradients",
      text_of(fmt::format("the gradient of '{}'{}", variable.name(), whose), variable.grad()));
}

}  // namespace lockstep
