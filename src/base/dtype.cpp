#include "lockstep/base/dtype.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "lockstep/base/error.hpp"

namespace lockstep {

std::string_view name_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::float16:
      return "float16";
    case DType::bfloat16:
      return "bfloat16";
    case DType::int64:
      return "int64";
    case DType::boolean:
      return "boolean";
  }
  return "unknown";
}

DType dtype_of(std::string_view name) {
  constexpr std::array all{DType::float32,  DType::float64, DType::float16,
                           DType::bfloat16, DType::int64,   DType::boolean};
  std::array<std::string_view, all.size()> names;
  std::ranges::transform(all, names.begin(), [](DType dtype) { return name_of(dtype); });
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    throw ArgumentError(
        fmt::format("there is no dtype '{}'; known are: {}", name, fmt::join(names, ", ")));
  return all[static_cast<std::size_t>(found - names.begin())];
}

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean:
      return sizeof(bool);
    case DType::float16:
    case DType::bfloat16:
      return 2;
    case DType::float32:
      return 4;
    case DType::float64:
    case DType::int64:
      break;
  }
  return 8;
}

bool is_floating(DType dtype) noexcept { return dtype != DType::int64 && dtype != DType::boolean; }

bool is_16_bit(DType dtype) noexcept { return dtype == DType::float16 || dtype == DType::bfloat16; }

DType parameter_dtype_of(DType dtype) noexcept { return is_16_bit(dtype) ? DType::float32 : dtype; }

}  // namespace lockstep
