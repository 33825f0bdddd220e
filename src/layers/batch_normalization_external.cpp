// What a batch normalization layer has learned, to and from other systems.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "base/convert.hpp"
#include "base/random.hpp"
#include "comm/agreement.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// All that is wrong, so that a user hears of it at once.
class Problems {
 public:
  void add(std::string problem) { problems_.push_back(std::move(problem)); }
  void add(std::string_view what, const std::vector<std::string>& names) {
    constexpr std::size_t num_shown = 8;
    if (names.empty()) return;
    const std::size_t num = std::min(names.size(), num_shown);
    add(fmt::format("{}: {}{}", what,
                    fmt::join(names.begin(), names.begin() + std::ptrdiff_t(num), ", "),
                    names.size() > num ? fmt::format(" and {} more", names.size() - num) : ""));
  }
  void require_none(std::string_view system) const {
    if (!problems_.empty())
      throw ArgumentError(
          fmt::format("what {} keeps does not fit: {}", system, fmt::join(problems_, "; ")));
  }

 private:
  std::vector<std::string> problems_;
};

bool is_own(std::string_view name) {
  return name == "shift" || name == "num_elements" || name.ends_with("grid");
}

bool must_not_be_negative(std::string_view name) {
  static constexpr std::array<std::string_view, 5> names{
      "moving_variance", "moving_stddev", "renorm_stddev", "moving_mean/local_step", "num_updates"};
  return std::ranges::find(names, name) != names.end();
}

// Converted, so that int64 is exact enough to be compared with 0.
std::vector<double> doubles_of(const Tensor& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.num_elements()));
  if (tensor.dtype() == DType::int64)
    std::ranges::copy(tensor.values<std::int64_t>(), values.begin());
  else
    read_as_double(tensor, values);
  return values;
}

// What is wrong with a tensor for this variable; empty for nothing.
std::string misfit_of(const Tensor& tensor, const Variable& variable, std::string_view name) {
  const bool is_floating_here = is_floating(variable.dtype());
  if (tensor.shape() != variable.shape())
    return fmt::format("has the shape {}, expected {}", to_string(tensor.shape()),
                       to_string(variable.shape()));
  if (is_floating_here ? !is_floating(tensor.dtype()) : tensor.dtype() != variable.dtype())
    return fmt::format("is {}, expected {}", name_of(tensor.dtype()),
                       is_floating_here ? "a floating dtype" : name_of(variable.dtype()));
  const std::vector<double> values = doubles_of(tensor);
  if (std::ranges::any_of(values, [](double value) { return !std::isfinite(value); }))
    return "must be finite";
  if (must_not_be_negative(name) &&
      std::ranges::any_of(values, [](double value) { return value < 0.0; }))
    return "must not be negative";
  return {};
}

// 1 - momentum: of the numbers that say so the one with few digits, as people write it.
double complement_of(double momentum) {
  const double exact = 1.0 - momentum;
  const double short_one = std::stod(fmt::format("{:.15g}", exact));
  return 1.0 - short_one == momentum ? short_one : exact;
}

std::optional<double> converted(std::optional<double> momentum, MomentumConvention convention) {
  if (!momentum || convention == MomentumConvention::weight_of_old) return momentum;
  return complement_of(*momentum);
}

// The source times a factor, as the dtype of the variables.
Tensor scaled(const TensorView& source, DType dtype, double factor) {
  if (!is_floating(dtype)) return Tensor::copy_of(source);
  std::vector<double> values(static_cast<std::size_t>(source.num_elements()));
  read_as_double(source, values);
  for (double& value : values) value *= factor;
  Tensor result(source.shape(), dtype);
  write_from_double(values, result);
  return result;
}

using NamedVariables = std::vector<std::pair<std::string, Variable*>>;
using Values = std::vector<std::pair<Variable*, Tensor>>;

Variable* find(const NamedVariables& variables, std::string_view name) {
  const auto found = std::ranges::find(variables, name, &NamedVariables::value_type::first);
  return found == variables.end() ? nullptr : found->second;
}

// The name of the variable in the other system; null where that has none.
const std::string* name_in(const ExternalStatistics& external, const std::string& name) {
  const auto found = external.names.find(name);
  return found == external.names.end() ? nullptr : &found->second;
}

// Whether the other system has all that the layer has, and what it needs for a conversion.
void check_system(const ExternalStatistics& external, const NamedVariables& variables,
                  std::optional<double> momentum, bool converts_variance, Problems& problems) {
  for (const auto& entry : variables)
    if (!is_own(entry.first) && entry.first != "num_updates" &&
        name_in(external, entry.first) == nullptr)
      problems.add(fmt::format("it has no {}", entry.first));
  if (!momentum && name_in(external, "num_updates") == nullptr)
    problems.add("the average of all batches needs the number of updates, which it does not count");
  if (const double m = momentum.value_or(0.0); !(m >= 0.0 && m <= 1.0))
    problems.add(fmt::format("momentum must be in [0, 1], got {}", m));
  const double num_elements = external.num_elements.value_or(1.0);
  if (!(num_elements >= 1.0) || std::isinf(num_elements))
    problems.add(fmt::format("num_elements must be at least 1, got {}", num_elements));
  if (converts_variance && !external.num_elements)
    problems.add("give num_elements: one side averages biased variances, the other unbiased ones");
}

void check_tensors(const ExternalStatistics& external, const NamedVariables& variables,
                   Problems& problems) {
  std::vector<std::string> missing, superfluous, expected;
  for (const auto& entry : variables) {
    const std::string* theirs = name_in(external, entry.first);
    if (theirs == nullptr) continue;
    expected.push_back(*theirs);
    const auto tensor = external.tensors.find(*theirs);
    if (tensor == external.tensors.end()) {
      missing.push_back(*theirs);
      continue;
    }
    const std::string misfit = misfit_of(tensor->second, *entry.second, entry.first);
    if (!misfit.empty()) problems.add(fmt::format("'{}' {}", *theirs, misfit));
  }
  for (const auto& entry : external.tensors)
    if (std::ranges::find(expected, entry.first) == expected.end())
      superfluous.push_back(entry.first);
  problems.add("missing", missing);
  problems.add("superfluous", superfluous);
}

// n / (n - 1), by which unbiased variances are larger.
double bessel_factor(const ExternalStatistics& external) {
  const double n = external.num_elements.value_or(1.0);
  return n / std::max(n - 1.0, 1.0);
}

// What the variables of the layer become; the tensors fit them.
Values values_of(const ExternalStatistics& external, const NamedVariables& variables,
                 double variance_factor) {
  Values values;
  for (const auto& entry : variables) {
    Variable* const variable = entry.second;
    const std::string* theirs = name_in(external, entry.first);
    if (theirs == nullptr) continue;
    const double factor = entry.first == "moving_variance" ? variance_factor : 1.0;
    values.emplace_back(variable, scaled(external.tensors.at(*theirs), variable->dtype(), factor));
  }
  Variable* const num_updates = find(variables, "num_updates");
  if (num_updates == nullptr) return values;  // nothing is tracked
  const std::string* counter = name_in(external, "num_updates");
  const std::int64_t updates =
      counter == nullptr ? 0 : external.tensors.at(*counter).values<std::int64_t>()[0];
  if (counter == nullptr) values.emplace_back(num_updates, Tensor({}, DType::int64));
  Variable* const num_elements = find(variables, "num_elements");
  Tensor counts(num_elements->shape(), num_elements->dtype());
  std::ranges::fill(counts.values<double>(),
                    static_cast<double>(updates) * external.num_elements.value_or(0.0));
  values.emplace_back(num_elements, std::move(counts));
  Variable* const shift = find(variables, "shift");
  const auto& mean = external.tensors.at(*name_in(external, "moving_mean"));
  values.emplace_back(shift, scaled(mean, shift->dtype(), 1.0));
  return values;
}

std::string fingerprint_of(const Values& values, std::optional<double> momentum) {
  RandomKey key(values.size());
  for (const auto& entry : values) {
    const Tensor& tensor = entry.second;
    key = key.with(entry.first->name())
              .with(std::string_view(
                  static_cast<const char*>(tensor.data()),
                  static_cast<std::size_t>(tensor.num_elements()) * size_of(tensor.dtype())));
  }
  return fmt::format("{:016x} with momentum {}", key.bits(0),
                     momentum ? fmt::format("{}", *momentum) : "cumulative");
}

NamedVariables named(const std::vector<Variable*>& variables, const std::string& scope) {
  NamedVariables result;
  for (Variable* variable : variables)
    result.emplace_back(variable->name().substr(scope.size() + 1), variable);
  return result;
}

}  // namespace

bool BatchNormalization::averages_unbiased(MovingVariance kind, FusedRules rules) const {
  BatchNormalizationOptions options = options_;
  options.moving_variance = kind;
  options.fused_rules = rules;
  return kind == MovingVariance::unbiased || runs_fused(options, created_for());
}

void BatchNormalization::import_statistics(const ExternalStatistics& external) {
  BatchNormalizationOptions changed = options_;
  Values values;
  const auto failure = attempt([&] {
    if (!is_created()) throw StateError("it has no variables yet; build it first");
    require_updates_made();
    const NamedVariables all = named(variables(), variable_scope());
    const bool is_unbiased = averages_unbiased(options_.moving_variance, options_.fused_rules);
    const bool was_unbiased = averages_unbiased(external.moving_variance, external.fused_rules);
    const bool converts = parts_->moving != nullptr && is_unbiased != was_unbiased;
    Problems problems;
    check_system(external, all, external.momentum, converts, problems);
    check_tensors(external, all, problems);
    problems.require_none(external.system);
    const double factor = bessel_factor(external);
    values = values_of(external, all, !converts ? 1.0 : is_unbiased ? factor : 1.0 / factor);
    changed.momentum = converted(external.momentum, external.momentum_convention);
    validate(changed, created_for());
  });
  const Meeting meeting{fmt::format("layer '{}'", name()), "import_statistics"};
  if (is_built()) {
    const Property property{"statistics", fingerprint_of(values, changed.momentum)};
    agree(control(), meeting, {&property, 1}, failure);
  } else if (failure) {
    throw_error(failure->code,
                fmt::format("{}, {}: {}", meeting.layer, meeting.phase, failure->cause));
  }
  for (const auto& [variable, value] : values) variable->assign(value);
  options_ = std::move(changed);
  if (parts_->moving != nullptr) parts_->moving->set_momentum(options_.momentum);
}

ExternalStatistics BatchNormalization::export_statistics(ExternalStatistics form) {
  const auto failure = attempt([&] {
    if (!is_created()) throw StateError("it has no variables yet; build it first");
    const NamedVariables all = named(variables(), variable_scope());
    const bool is_unbiased = averages_unbiased(options_.moving_variance, options_.fused_rules);
    const bool becomes_unbiased = averages_unbiased(form.moving_variance, form.fused_rules);
    const bool converts = parts_->moving != nullptr && is_unbiased != becomes_unbiased;
    Problems problems;
    check_system(form, all, options_.momentum, converts, problems);
    problems.require_none(form.system);
    const double bessel = bessel_factor(form);
    const double factor = !converts ? 1.0 : becomes_unbiased ? bessel : 1.0 / bessel;
    form.tensors.clear();
    for (const auto& entry : all)
      if (const std::string* theirs = name_in(form, entry.first))
        form.tensors[*theirs] = scaled(entry.second->value(), entry.second->dtype(),
                                       entry.first == "moving_variance" ? factor : 1.0);
    form.momentum = converted(options_.momentum, form.momentum_convention);
  });
  if (failure)
    throw_error(failure->code,
                fmt::format("layer '{}', export_statistics: {}", name(), failure->cause));
  return form;
}

}  // namespace lockstep
