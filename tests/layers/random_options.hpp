// Options of layers with random values in all fields, compared without the way they are written.

#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/random.hpp"
#include "layers/enumeration_names.hpp"
#include "layers/option_fields.hpp"
#include "lockstep/layers/average_pool2d.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/max_pool2d.hpp"

namespace lockstep::testing {

template <class T, template <class...> class Template>
inline constexpr bool is_of = false;
template <class... Arguments, template <class...> class Template>
inline constexpr bool is_of<Template<Arguments...>, Template> = true;

/// What stands for a function of the user's own.
template <class T>
concept NamedFunction = std::same_as<T, RegularizerFunction> ||
    std::same_as<T, ConstraintFunction> || std::same_as<T, CustomActivation>;

/// A source of random values of every type that options hold.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : key_(seed) {}

  /// Lets values be functions too, which no text can hold.
  void allow_functions() noexcept { has_functions_ = true; }

  [[nodiscard]] std::uint64_t below(std::uint64_t limit) noexcept {
    return key_.bits(num_drawn_++) % limit;
  }

  template <class T>
  [[nodiscard]] T draw();

 private:
  [[nodiscard]] double number();
  [[nodiscard]] std::string text();
  template <class Variant>
  [[nodiscard]] Variant alternative();

  RandomKey key_;
  std::uint64_t num_drawn_ = 0;
  bool has_functions_ = false;
};

// Every pattern of bits, and the values that are not like others more often.
inline double Dice::number() {
  using Limits = std::numeric_limits<double>;
  static constexpr std::array special{0.0,
                                      -0.0,
                                      0.1,
                                      1e300,
                                      -Limits::max(),
                                      Limits::min(),
                                      Limits::denorm_min(),
                                      Limits::infinity(),
                                      -Limits::infinity(),
                                      9007199254740993.0};
  const std::uint64_t choice = below(2 * special.size());
  if (choice < special.size()) return special[choice];
  return std::bit_cast<double>(below(std::numeric_limits<std::uint64_t>::max()));
}

inline std::string Dice::text() {
  static const std::array<std::string, 6> pieces{"a", "\"quoted\\", "\n\t", "\xC3\xBC", "{}", "7"};
  std::string text;
  for (std::uint64_t length = below(5); length > 0; --length) text += pieces[below(pieces.size())];
  return text;
}

template <class Variant>
Variant Dice::alternative() {
  for (;;) {
    std::uint64_t chosen = below(std::variant_size_v<Variant>);
    std::optional<Variant> result;
    const auto try_alternative = [&]<class T>(std::type_identity<T>) {
      if (chosen-- == 0 && (has_functions_ || !NamedFunction<T>)) result = draw<T>();
    };
    [&]<class... Ts>(std::type_identity<std::variant<Ts...>>) {
      (try_alternative(std::type_identity<Ts>()), ...);
    }(std::type_identity<Variant>());
    if (result) return *result;
  }
}

template <class T>
T Dice::draw() {
  if constexpr (std::same_as<T, bool>) {
    return below(2) == 1;
  } else if constexpr (std::integral<T>) {
    using Limits = std::numeric_limits<T>;
    const std::array<T, 4> special{0, Limits::min(), Limits::max(), static_cast<T>(below(9))};
    const std::uint64_t choice = below(8);
    return choice < 4 ? special[choice] : static_cast<T>(below(Limits::max()));
  } else if constexpr (std::same_as<T, double>) {
    return number();
  } else if constexpr (std::same_as<T, std::string>) {
    return text();
  } else if constexpr (std::is_enum_v<T>) {
    std::uint64_t count = 0;
    while (name_of(static_cast<T>(count)) != "unknown") ++count;
    return static_cast<T>(below(count));
  } else if constexpr (is_of<T, std::optional>) {
    if (below(2) == 0) return std::nullopt;
    return draw<typename T::value_type>();
  } else if constexpr (is_of<T, std::vector>) {
    T values(below(4));
    for (auto& value : values) value = draw<typename T::value_type>();
    return values;
  } else if constexpr (std::same_as<T, CollectionsByVariable>) {
    T collections;
    for (std::uint64_t i = below(3); i > 0; --i) collections[text()] = draw<CollectionNames>();
    return collections;
  } else if constexpr (std::same_as<T, Shape>) {
    return Shape(std::span<const std::int64_t>(draw<std::vector<std::int64_t>>()));
  } else if constexpr (std::same_as<T, Axes>) {
    return Axes(draw<std::vector<int>>());
  } else if constexpr (std::same_as<T, Size2D>) {
    return {draw<std::int64_t>(), draw<std::int64_t>()};
  } else if constexpr (std::same_as<T, AdjustmentFunction>) {
    if (!has_functions_ || below(2) == 0) return {};
    return [](const Shape&) { return Adjustment{}; };
  } else if constexpr (NamedFunction<T>) {
    T function{};
    function.name = text();
    return function;
  } else if constexpr (std::same_as<T, ByColor>) {
    return {draw<int>()};
  } else if constexpr (is_of<T, std::variant>) {
    return alternative<T>();
  } else {
    T value{};
    for_each_field(value, [&]<class Field>(const char*, Field& field) { field = draw<Field>(); });
    return value;
  }
}

/// True when all that both hold is the same, to the last bit but for the payload of NaN.
template <class T>
[[nodiscard]] bool is_same(const T& a, const T& b) {
  if constexpr (std::same_as<T, double>) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b) ||
           (std::isnan(a) && std::isnan(b));
  } else if constexpr (std::same_as<T, AdjustmentFunction>) {
    return static_cast<bool>(a) == static_cast<bool>(b);
  } else if constexpr (NamedFunction<T>) {
    return a.name == b.name;
  } else if constexpr (std::same_as<T, Size2D>) {
    return a.height == b.height && a.width == b.width;
  } else if constexpr (is_of<T, std::optional>) {
    return a.has_value() == b.has_value() && (!a || is_same(*a, *b));
  } else if constexpr (is_of<T, std::variant>) {
    return a.index() == b.index() &&
           std::visit([&]<class U>(const U& value) { return is_same(value, std::get<U>(b)); }, a);
  } else if constexpr (requires { for_each_field(a, [](auto&&...) {}); }) {
    bool result = true;
    for_each_field(a, [&]<class Field>(std::string_view name, const Field& field) {
      for_each_field(b, [&]<class Other>(std::string_view other_name, const Other& other) {
        if constexpr (std::same_as<Field, Other>)
          if (name == other_name) result = result && is_same(field, other);
      });
    });
    return result;
  } else {
    return a == b;
  }
}

/// The names of all fields, in their order.
template <class Options>
[[nodiscard]] std::vector<std::string> field_names_of() {
  std::vector<std::string> names;
  const Options options{};
  for_each_field(options, [&](const char* name, const auto&) { names.emplace_back(name); });
  return names;
}

/// `options` with another value in one field.
template <class Options>
[[nodiscard]] Options with_other(Options options, std::string_view field_name, Dice& dice) {
  for_each_field(options, [&]<class Field>(std::string_view name, Field& field) {
    if (name != field_name) return;
    const Field before = field;
    const auto says_the_same = [&] {  // -0 is no other number than 0
      if constexpr (std::same_as<Field, double>) return field == before;
      return is_same(field, before);
    };
    while (says_the_same()) field = dice.draw<Field>();
  });
  return options;
}

template <class L>
using OptionsOf = std::remove_cvref_t<decltype(std::declval<const L&>().options())>;

/// Calls visit(std::type_identity<L>()) for every layer type L that consists of its options.
template <class Visit>
void for_each_layer_type(Visit&& visit) {
  const auto visit_all = [&]<class... Ls>(std::type_identity<std::variant<Ls...>>) {
    (visit(std::type_identity<Ls>()), ...);
  };
  visit_all(
      std::type_identity<std::variant<Activation, AveragePool2D, BatchNormalization, Conv2D, Dense,
                                      Dropout, Flatten, GlobalAveragePool, MaxPool2D, Softmax>>());
}

}  // namespace lockstep::testing
