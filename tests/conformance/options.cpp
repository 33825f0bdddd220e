#include "conformance/options.hpp"

#include <spdlog/fmt/fmt.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

namespace lockstep::conformance {
namespace {

using Json = nlohmann::json;

// The members of an object that are not null, all of which must be known.
std::map<std::string, Json> members_of(const Json& object, const std::set<std::string>& known) {
  std::map<std::string, Json> members;
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key)) throw std::invalid_argument(fmt::format("it has no '{}'", key));
    if (!value.is_null()) members.emplace(key, value);
  }
  return members;
}

template <class T>
T value_or(const std::map<std::string, Json>& members, const std::string& key, T otherwise) {
  const auto member = members.find(key);
  return member == members.end() ? otherwise : member->second.get<T>();
}

std::vector<int> axes_of(const Json& axes) {
  return axes.is_array() ? axes.get<std::vector<int>>() : std::vector<int>{axes.get<int>()};
}

Regularizer regularizer_of(const Json& regularizer) {
  const auto members = members_of(regularizer, {"l1", "l2"});
  return L1L2{value_or(members, "l1", 0.0), value_or(members, "l2", 0.0)};
}

Constraint constraint_of(const Json& constraint) {
  const auto name = constraint.at("name").get<std::string>();
  const auto members = members_of(constraint, {"name", "max_value", "min_value", "rate", "axis"});
  const auto axes = members.contains("axis") ? axes_of(members.at("axis")) : std::vector<int>{0};
  const MinMaxNorm limits{value_or(members, "min_value", 0.0), value_or(members, "max_value", 1.0),
                          value_or(members, "rate", 1.0), axes};
  if (name == "max_norm") return MaxNorm{value_or(members, "max_value", 2.0), axes};
  if (name == "non_neg") return NonNeg{};
  if (name == "unit_norm") return UnitNorm{axes};
  if (name == "min_max_norm") return limits;
  throw std::invalid_argument(fmt::format("there is no '{}'", name));
}

RenormClipping clipping_of(const Json& clipping) {
  std::map<std::string, double> limits;
  for (const auto& [key, value] : members_of(clipping, {"rmin", "rmax", "dmax"}))
    limits.emplace(key, value.get<double>());
  return renorm_clipping_of(limits);
}

MovingVariance moving_variance_of(const std::string& kind) {
  if (kind == "biased") return MovingVariance::biased;
  if (kind == "bessel") return MovingVariance::unbiased;
  throw std::invalid_argument(fmt::format("there is no '{}'", kind));
}

FrozenMode frozen_mode_of(const std::string& behavior) {
  if (behavior == "inference") return FrozenMode::inference;
  if (behavior == "batch_statistics" || behavior == "batch statistics" || behavior == "batch")
    return FrozenMode::batch_statistics;
  if (behavior == "batch_statistics_updating") return FrozenMode::batch_statistics_updating;
  throw std::invalid_argument(fmt::format("there is no '{}'", behavior));
}

std::optional<DType> io_dtype_of(const std::string& name) {
  if (name == "float32") return std::nullopt;
  if (name == "float16") return DType::float16;
  if (name == "bfloat16") return DType::bfloat16;
  throw std::invalid_argument(fmt::format("there is no '{}'", name));
}

using Setter = std::function<void(BatchNormalizationOptions&, const Json&)>;

const std::map<std::string, Setter>& setters() {
  using Options = BatchNormalizationOptions;
  static const std::map<std::string, Setter> setters{
      {"axis", [](Options& o, const Json& v) { o.axis = Axes(axes_of(v)); }},
      {"momentum", [](Options& o, const Json& v) { o.momentum = v.get<double>(); }},
      {"epsilon", [](Options& o, const Json& v) { o.epsilon = v.get<double>(); }},
      {"center", [](Options& o, const Json& v) { o.center = v.get<bool>(); }},
      {"scale", [](Options& o, const Json& v) { o.scale = v.get<bool>(); }},
      {"renorm", [](Options& o, const Json& v) { o.renorm = v.get<bool>(); }},
      {"renorm_clipping", [](Options& o, const Json& v) { o.renorm_clipping = clipping_of(v); }},
      {"renorm_momentum", [](Options& o, const Json& v) { o.renorm_momentum = v.get<double>(); }},
      {"virtual_batch_size",
       [](Options& o, const Json& v) { o.virtual_batch_size = v.get<std::int64_t>(); }},
      {"zero_debias_moving_mean",
       [](Options& o, const Json& v) { o.zero_debias_moving_mean = v.get<bool>(); }},
      {"gamma_regularizer",
       [](Options& o, const Json& v) { o.gamma_regularizer = regularizer_of(v); }},
      {"beta_regularizer",
       [](Options& o, const Json& v) { o.beta_regularizer = regularizer_of(v); }},
      {"gamma_constraint",
       [](Options& o, const Json& v) { o.gamma_constraint = constraint_of(v); }},
      {"beta_constraint", [](Options& o, const Json& v) { o.beta_constraint = constraint_of(v); }},
      {"activation",
       [](Options& o, const Json& v) {
         o.activation = activation_function_of(v.get<std::string>());
       }},
      {"moving_variance",
       [](Options& o, const Json& v) { o.moving_variance = moving_variance_of(v); }},
      {"io_dtype", [](Options& o, const Json& v) { o.dtype = io_dtype_of(v); }},
      {"frozen_behavior",
       [](Options& o, const Json& v) { o.frozen_mode = frozen_mode_of(v.get<std::string>()); }},
      {"param_shape", [](Options&, const Json&) {}},
  };
  return setters;
}

}  // namespace

BatchNormalizationOptions options_of(const nlohmann::json& options,
                                     std::vector<std::string>& objections) {
  BatchNormalizationOptions result;
  for (const auto& [key, value] : options.items()) {
    const auto setter = setters().find(key);
    if (value.is_null()) {
      if (key == "momentum") result.momentum = std::nullopt;
    } else if (setter == setters().end()) {
      objections.push_back(fmt::format("unknown option '{}'", key));
    } else {
      try {
        setter->second(result, value);
      } catch (const std::exception& error) {
        objections.push_back(fmt::format("option '{}' is {}: {}", key, value.dump(), error.what()));
      }
    }
  }
  return result;
}

}  // namespace lockstep::conformance
