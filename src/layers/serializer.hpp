// How the values of options are written as JSON and read back, one place for every type.

#pragma once

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "layers/json.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

template <class T>
struct Serializer;

template <class T>
[[nodiscard]] Json json_of(const T& value) {
  return Serializer<T>::write(value);
}

/// Throws ArgumentError, which begins with `where`, for anything that is not a T.
template <class T>
[[nodiscard]] T value_of(const Json& json, const std::string& where) {
  return Serializer<T>::read(json, where);
}

/// Aggregates: an object of the fields that for_each_field() lists. One that is missing has its
/// default value.
template <class T>
struct Serializer {
  static Json write(const T& value) {
    Json json = Json::object();
    for_each_field(value,
                   [&](const char* name, const auto& field) { json[name] = json_of(field); });
    return json;
  }
  static T read(const Json& json, const std::string& where) {
    T value{};
    std::vector<std::string_view> known;
    for_each_field(value, [&](const char* name, const auto&) { known.emplace_back(name); });
    require_keys(json, where, known);
    for_each_field(value, [&]<class Field>(const char* name, Field& field) {
      const auto found = json.find(name);
      if (found != json.end()) field = value_of<Field>(*found, fmt::format("{}.{}", where, name));
    });
    return value;
  }
};

template <>
struct Serializer<bool> {
  static Json write(bool value) { return value; }
  static bool read(const Json& json, const std::string& where) {
    if (!json.is_boolean()) refuse(where, "true or false", json);
    return json.get<bool>();
  }
};

template <std::integral T>
requires(!std::same_as<T, bool>) struct Serializer<T> {
  static Json write(T value) { return value; }
  static T read(const Json& json, const std::string& where) {
    if (json.is_number_unsigned() && std::in_range<T>(json.get<std::uint64_t>()))
      return static_cast<T>(json.get<std::uint64_t>());
    if (json.is_number_integer() && !json.is_number_unsigned() &&
        std::in_range<T>(json.get<std::int64_t>()))
      return static_cast<T>(json.get<std::int64_t>());
    refuse(where,
           fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(),
                       std::numeric_limits<T>::max()),
           json);
  }
};

/// Numbers are written so that they read back as themselves; JSON has none for what is not finite.
template <>
struct Serializer<double> {
  static Json write(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0.0 ? "infinity" : "-infinity";
    return value;
  }
  static double read(const Json& json, const std::string& where) {
    if (json.is_number()) return json.get<double>();
    if (json == "infinity") return std::numeric_limits<double>::infinity();
    if (json == "-infinity") return -std::numeric_limits<double>::infinity();
    if (json == "nan") return std::numeric_limits<double>::quiet_NaN();
    refuse(where, R"(a number, "infinity", "-infinity" or "nan")", json);
  }
};

template <>
struct Serializer<std::string> {
  static Json write(const std::string& value) { return value; }
  static std::string read(const Json& json, const std::string& where) {
    if (!json.is_string()) refuse(where, "a text", json);
    return json.get<std::string>();
  }
};

/// Enumerations from 0 on with a name_of() that is "unknown" after the last.
template <class T>
requires std::is_enum_v<T>
struct Serializer<T> {
  static Json write(T value) { return std::string(name_of(value)); }
  static T read(const Json& json, const std::string& where) {
    std::vector<std::string_view> names;
    for (T value{}; name_of(value) != "unknown"; value = static_cast<T>(names.size())) {
      if (json == name_of(value)) return value;
      names.push_back(name_of(value));
    }
    refuse(where, fmt::format("one of {}", fmt::join(names, ", ")), json);
  }
};

template <class T>
struct Serializer<std::optional<T>> {
  static Json write(const std::optional<T>& value) { return value ? json_of(*value) : nullptr; }
  static std::optional<T> read(const Json& json, const std::string& where) {
    if (json.is_null()) return std::nullopt;
    return value_of<T>(json, where);
  }
};

template <class T>
struct Serializer<std::vector<T>> {
  static Json write(const std::vector<T>& values) {
    Json json = Json::array();
    for (const T& value : values) json.push_back(json_of(value));
    return json;
  }
  static std::vector<T> read(const Json& json, const std::string& where) {
    if (!json.is_array()) refuse(where, "a list", json);
    std::vector<T> values;
    for (const Json& value : json)
      values.push_back(value_of<T>(value, fmt::format("{}[{}]", where, values.size())));
    return values;
  }
};

/// Throws ArgumentError: code has no text.
[[noreturn]] inline void refuse_function(std::string_view where) {
  throw ArgumentError(fmt::format(
      "{}: a function cannot be read from a configuration; give it in the options of the layer, "
      "or clone() the layer",
      where));
}

/// A function without a name: only that there is one.
template <class R, class... Arguments>
struct Serializer<std::function<R(Arguments...)>> {
  static Json write(const std::function<R(Arguments...)>& function) {
    return function ? Json{{"type", "function"}} : Json(nullptr);
  }
  static std::function<R(Arguments...)> read(const Json& json, const std::string& where) {
    if (!json.is_null()) refuse_function(where);
    return {};
  }
};

/// The "type" that tells an alternative of a variant.
template <class T>
inline constexpr std::string_view alternative_name = "";

/// Variants of aggregates: the alternative's fields after its "type"; null for std::monostate.
template <class... Alternatives>
struct Serializer<std::variant<Alternatives...>> {
  using Variant = std::variant<Alternatives...>;

  static Json write(const Variant& variant) {
    return std::visit(
        []<class T>(const T& value) {
          Json json;
          if constexpr (!std::same_as<T, std::monostate>) {
            static_assert(!alternative_name<T>.empty(), "give the alternative a name");
            json["type"] = std::string(alternative_name<T>);
            json.update(json_of(value));
          }
          return json;
        },
        variant);
  }
  static Variant read(const Json& json, const std::string& where) {
    if constexpr (std::constructible_from<Variant, std::monostate>)
      if (json.is_null()) return std::monostate{};
    const auto type = value_of<std::string>(required(json, where, "type"), where + ".type");
    Json fields = json;
    fields.erase("type");
    std::optional<Variant> result;
    std::vector<std::string_view> names;
    const auto try_alternative = [&]<class T>(std::in_place_type_t<T>) {
      if constexpr (!std::same_as<T, std::monostate>) {
        names.push_back(alternative_name<T>);
        if (type == names.back()) result = value_of<T>(fields, where);
      }
    };
    (try_alternative(std::in_place_type<Alternatives>), ...);
    if (!result) refuse(where + ".type", fmt::format("one of {}", fmt::join(names, ", ")), type);
    return *std::move(result);
  }
};

}  // namespace lockstep
