// Element types of tensors, known at run time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// Storage type of a tensor's elements. Labels are int64, masks boolean; everything that is trained
/// is floating.
enum class DType : std::uint8_t { float32, float64, int64, boolean };

[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(DType dtype) noexcept;
[[nodiscard]] LOCKSTEP_EXPORT std::size_t size_of(DType dtype) noexcept;
[[nodiscard]] LOCKSTEP_EXPORT bool is_floating(DType dtype) noexcept;

/// The DType of a C++ element type.
template <class T>
[[nodiscard]] constexpr DType dtype_of() noexcept {
  using Element = std::remove_cv_t<T>;
  static_assert(std::is_same_v<Element, float> || std::is_same_v<Element, double> ||
                    std::is_same_v<Element, std::int64_t> || std::is_same_v<Element, bool>,
                "lockstep tensors hold float, double, std::int64_t or bool");
  if constexpr (std::is_same_v<Element, float>) return DType::float32;
  if constexpr (std::is_same_v<Element, double>) return DType::float64;
  if constexpr (std::is_same_v<Element, bool>) return DType::boolean;
  return DType::int64;
}

}  // namespace lockstep
