#include "lockstep/params/regularizer.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <string_view>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void check_factor(std::string_view name, double factor) {
  if (!std::isfinite(factor) || factor < 0.0)
    throw ArgumentError(
        fmt::format("a regularizer needs a finite factor {} >= 0, got {}", name, factor));
}

double sign_of(double value) {
  if (value > 0.0) return 1.0;
  return value < 0.0 ? -1.0 : 0.0;
}

void check(std::monostate) {}
void check(const L1L2& factors) {
  check_factor("l1", factors.l1);
  check_factor("l2", factors.l2);
}
void check(const RegularizerFunction& function) {
  if (function.name.empty())
    throw ArgumentError("a regularizer function needs a name, by which ranks compare it");
  if (!function.penalty || !function.add_gradient)
    throw ArgumentError(fmt::format(
        "the regularizer function '{}' needs both penalty and add_gradient", function.name));
}

double penalty_of(std::monostate, std::span<const double>) { return 0.0; }
double penalty_of(const L1L2& factors, std::span<const double> values) {
  double sum = 0.0;
  double sum_of_squares = 0.0;
  for (const double value : values) {
    sum += std::abs(value);
    sum_of_squares += value * value;
  }
  return factors.l1 * sum + factors.l2 * sum_of_squares;
}
double penalty_of(const RegularizerFunction& function, std::span<const double> values) {
  return function.penalty(values);
}

void add_gradient_of(std::monostate, std::span<const double>, std::span<double>) {}
void add_gradient_of(const L1L2& factors, std::span<const double> values,
                     std::span<double> gradient) {
  for (std::size_t i = 0; i < values.size(); ++i)
    gradient[i] += factors.l1 * sign_of(values[i]) + 2.0 * factors.l2 * values[i];
}
void add_gradient_of(const RegularizerFunction& function, std::span<const double> values,
                     std::span<double> gradient) {
  function.add_gradient(values, gradient);
}

std::string text_of(std::monostate) { return "none"; }
std::string text_of(const L1L2& factors) {
  if (factors.l2 == 0.0 && factors.l1 != 0.0) return fmt::format("l1({})", factors.l1);
  if (factors.l1 == 0.0 && factors.l2 != 0.0) return fmt::format("l2({})", factors.l2);
  return fmt::format("l1_l2({}, {})", factors.l1, factors.l2);
}
std::string text_of(const RegularizerFunction& function) {
  return fmt::format("function({})", function.name);
}

}  // namespace

Regularizer l1(double factor) { return L1L2{.l1 = factor}; }
Regularizer l2(double factor) { return L1L2{.l2 = factor}; }
Regularizer l1_l2(double l1_factor, double l2_factor) {
  return L1L2{.l1 = l1_factor, .l2 = l2_factor};
}

void validate(const Regularizer& regularizer) {
  std::visit([](const auto& alternative) { check(alternative); }, regularizer);
}

double penalty(const Regularizer& regularizer, std::span<const double> values) {
  return std::visit([&](const auto& alternative) { return penalty_of(alternative, values); },
                    regularizer);
}

void add_penalty_gradient(const Regularizer& regularizer, std::span<const double> values,
                          std::span<double> gradient) {
  if (gradient.size() != values.size())
    throw ArgumentError(fmt::format("a gradient of {} elements was given for {} values",
                                    gradient.size(), values.size()));
  std::visit([&](const auto& alternative) { add_gradient_of(alternative, values, gradient); },
             regularizer);
}

std::string to_string(const Regularizer& regularizer) {
  return std::visit([](const auto& alternative) { return text_of(alternative); }, regularizer);
}

}  // namespace lockstep
