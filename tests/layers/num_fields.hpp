// How many fields an aggregate has, counted by the compiler.

#pragma once

#include <cstddef>
#include <optional>
#include <utility>

namespace lockstep::testing {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// Stands for a value of any type. An optional takes the value that it would hold.
struct AnyValue {
  template <class T>
  requires(!is_optional<T>) operator T() const;
};

template <class T, std::size_t... I>
[[nodiscard]] constexpr bool has_fields(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), AnyValue())...}; };
}

/// The number of fields of T, an aggregate of at most 100.
template <class T, std::size_t count = 100>
[[nodiscard]] constexpr std::size_t num_fields_of() {
  if constexpr (count == 0 || has_fields<T>(std::make_index_sequence<count>()))
    return count;
  else
    return num_fields_of<T, count - 1>();
}

}  // namespace lockstep::testing
