// From a run-time DType to a C++ type, once, at the border to the kernels.

#pragma once

#include <string>
#include <utility>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

template <class T>
struct TypeTag {
  using type = T;
};

/// Calls `visitor` with TypeTag<float> or TypeTag<double>, the types that layers compute in and
/// keep parameters in. Throws ArgumentError for other dtypes.
template <class Visitor>
decltype(auto) visit_parameter(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::float32:
      return std::forward<Visitor>(visitor)(TypeTag<float>{});
    case DType::float64:
      return std::forward<Visitor>(visitor)(TypeTag<double>{});
    default:
      break;
  }
  throw ArgumentError("float32 or float64 is needed, got " + std::string(name_of(dtype)));
}

/// Calls `visitor` with the TypeTag of a floating storage type: float, double, Float16 or BFloat16.
/// Throws ArgumentError for other dtypes.
template <class Visitor>
decltype(auto) visit_floating(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::float16:
      return std::forward<Visitor>(visitor)(TypeTag<Float16>{});
    case DType::bfloat16:
      return std::forward<Visitor>(visitor)(TypeTag<BFloat16>{});
    case DType::float32:
    case DType::float64:
      return visit_parameter(dtype, std::forward<Visitor>(visitor));
    default:
      break;
  }
  throw ArgumentError("a floating dtype is needed, got " + std::string(name_of(dtype)));
}

}  // namespace lockstep
