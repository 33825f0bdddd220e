#include "lockstep/base/dtype.hpp"

namespace lockstep {

std::string_view name_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
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
    case DType::float32:
      return 4;
    case DType::float64:
    case DType::int64:
      break;
  }
  return 8;
}

bool is_floating(DType dtype) noexcept { return dtype != DType::int64 && dtype != DType::boolean; }

}  // namespace lockstep
