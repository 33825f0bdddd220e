// Element types of tensors, known at run time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "lockstep/base/export.hpp"
#include "lockstep/base/float16.hpp"

namespace lockstep {

/// Storage type of a tensor's elements. Labels are int64, masks boolean; everything that is trained
/// is floating.
enum class DType : std::uint8_t { float32, float64, float16, bfloat16, int64, boolean };

[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(DType dtype) noexcept;
[[nodiscard]] LOCKSTEP_EXPORT std::size_t size_of(DType dtype) noexcept;
[[nodiscard]] LOCKSTEP_EXPORT bool is_floating(DType dtype) noexcept;
/// True for float16 and bfloat16, which hold what passes between layers.
[[nodiscard]] LOCKSTEP_EXPORT bool is_16_bit(DType dtype) noexcept;

/// What layers whose inputs and outputs are `dtype` compute in and keep their variables in: float32
/// for 16-bit types, otherwise `dtype` itself.
[[nodiscard]] LOCKSTEP_EXPORT DType parameter_dtype_of(DType dtype) noexcept;

/// The dtype of this name, "bfloat16". Throws ArgumentError listing those there are.
[[nodiscard]] LOCKSTEP_EXPORT DType dtype_of(std::string_view name);

/// The DType of a C++ element type.
template <class T>
[[nodiscard]] constexpr DType dtype_of() noexcept {
  using Element = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<Element, float>) {
    return DType::float32;
  } else if constexpr (std::is_same_v<Element, double>) {
    return DType::float64;
  } else if constexpr (std::is_same_v<Element, Float16>) {
    return DType::float16;
  } else if constexpr (std::is_same_v<Element, BFloat16>) {
    return DType::bfloat16;
  } else if constexpr (std::is_same_v<Element, std::int64_t>) {
    return DType::int64;
  } else {
    static_assert(std::is_same_v<Element, bool>,
                  "lockstep tensors hold float, double, Float16, BFloat16, std::int64_t or bool");
    return DType::boolean;
  }
}

}  // namespace lockstep
