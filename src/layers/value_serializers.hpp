// How the library's own values are written in configurations: shapes, initializers, groups, ...

#pragma once

#include "layers/enumeration_names.hpp"
#include "layers/serializer.hpp"
#include "layers/value_fields.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/layers/axes.hpp"
#include "lockstep/layers/data_format.hpp"

namespace lockstep {

/// A key under which configurations hold what may differ between ranks.
inline constexpr const char* differs_by_rank_key = "differs_by_rank";

template <>
struct Serializer<Shape> {
  static Json write(const Shape& shape) { return Json(std::vector(shape.begin(), shape.end())); }
  static Shape read(const Json& json, const std::string& where) {
    const auto extents = value_of<std::vector<std::int64_t>>(json, where);
    if (std::ssize(extents) > Shape::max_rank)
      refuse(where, fmt::format("at most {} axes", Shape::max_rank), json);
    return Shape(std::span(extents));
  }
};

/// One axis or a list of them.
template <>
struct Serializer<Axes> {
  static Json write(const Axes& axes) {
    return axes.values().size() == 1 ? json_of(axes.values().front()) : json_of(axes.values());
  }
  static Axes read(const Json& json, const std::string& where) {
    if (json.is_array()) return Axes(value_of<std::vector<int>>(json, where));
    return value_of<int>(json, where);
  }
};

/// [height, width].
template <>
struct Serializer<Size2D> {
  static Json write(const Size2D& size) { return {size.height, size.width}; }
  static Size2D read(const Json& json, const std::string& where) {
    const auto extents = value_of<std::vector<std::int64_t>>(json, where);
    if (extents.size() != 2) refuse(where, "[height, width]", json);
    return {extents[0], extents[1]};
  }
};

/// A function of the user's own: its name.
template <class T>
requires std::same_as<T, RegularizerFunction> || std::same_as<T, ConstraintFunction> ||
    std::same_as<T, CustomActivation>
struct Serializer<T> {
  static Json write(const T& function) {
    Json json;
    json["name"] = function.name;
    return json;
  }
  static T read(const Json& json, const std::string& where) {
    const auto name = value_of<std::string>(required(json, where, "name"), where + ".name");
    refuse_function(fmt::format("{}, function '{}'", where, name));
  }
};

template <>
inline constexpr std::string_view alternative_name<Zeros> = "zeros";
template <>
inline constexpr std::string_view alternative_name<Ones> = "ones";
template <>
inline constexpr std::string_view alternative_name<Constant> = "constant";
template <>
inline constexpr std::string_view alternative_name<RandomNormal> = "random_normal";
template <>
inline constexpr std::string_view alternative_name<RandomUniform> = "random_uniform";
template <>
inline constexpr std::string_view alternative_name<TruncatedNormal> = "truncated_normal";
template <>
inline constexpr std::string_view alternative_name<VarianceScaling> = "variance_scaling";

template <>
inline constexpr std::string_view alternative_name<L1L2> = "l1_l2";
template <>
inline constexpr std::string_view alternative_name<RegularizerFunction> = "function";

template <>
inline constexpr std::string_view alternative_name<MaxNorm> = "max_norm";
template <>
inline constexpr std::string_view alternative_name<NonNeg> = "non_neg";
template <>
inline constexpr std::string_view alternative_name<UnitNorm> = "unit_norm";
template <>
inline constexpr std::string_view alternative_name<MinMaxNorm> = "min_max_norm";
template <>
inline constexpr std::string_view alternative_name<ConstraintFunction> = "function";

template <>
inline constexpr std::string_view alternative_name<CustomActivation> = "function";

/// The name of a function of the library's, or a function of the user's own.
template <>
struct Serializer<AnyActivation> {
  using Custom = std::variant<CustomActivation>;

  static Json write(const AnyActivation& activation) {
    if (const auto* function = std::get_if<ActivationFunction>(&activation))
      return json_of(*function);
    return json_of(Custom(std::get<CustomActivation>(activation)));
  }
  static AnyActivation read(const Json& json, const std::string& where) {
    if (json.is_string()) return value_of<ActivationFunction>(json, where);
    return std::get<CustomActivation>(value_of<Custom>(json, where));
  }
};

/// A list for all variables, or an object of one list per variable.
template <>
struct Serializer<std::variant<CollectionNames, CollectionsByVariable>> {
  using Collections = std::variant<CollectionNames, CollectionsByVariable>;

  static Json write(const Collections& collections) {
    if (const auto* names = std::get_if<CollectionNames>(&collections)) return json_of(*names);
    Json json = Json::object();
    for (const auto& [variable, names] : std::get<CollectionsByVariable>(collections))
      json[variable] = json_of(names);
    return json;
  }
  static Collections read(const Json& json, const std::string& where) {
    if (!json.is_object()) return value_of<CollectionNames>(json, where);
    CollectionsByVariable collections;
    for (const auto& [variable, names] : json.items())
      collections[variable] = value_of<CollectionNames>(names, fmt::format("{}.{}", where, variable));
    return collections;
  }
};

template <>
inline constexpr std::string_view alternative_name<AllReplicas> = "all_replicas";
template <>
inline constexpr std::string_view alternative_name<ByNode> = "by_node";
template <>
inline constexpr std::string_view alternative_name<BySize> = "by_size";
template <>
inline constexpr std::string_view alternative_name<ByColor> = "by_color";

/// The color is each rank's own.
template <>
struct Serializer<ByColor> {
  static Json write(const ByColor& group) {
    Json json;
    json[differs_by_rank_key]["color"] = group.color;
    return json;
  }
  static ByColor read(const Json& json, const std::string& where) {
    require_keys(json, where, {differs_by_rank_key});
    const std::string inner = fmt::format("{}.{}", where, differs_by_rank_key);
    const Json& own = required(json, where, differs_by_rank_key);
    require_keys(own, inner, {"color"});
    return {value_of<int>(required(own, inner, "color"), inner + ".color")};
  }
};

}  // namespace lockstep
