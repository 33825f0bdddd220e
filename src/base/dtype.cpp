#include "lockstep/base/dtype.hpp"

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
