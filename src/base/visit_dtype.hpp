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

/// Calls `visitor` with TypeTag<float> or TypeTag<double>. Throws ArgumentError for other dtypes.
template <class Visitor>
decltype(auto) visit_floating(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::float32:
      return std::forward<Visitor>(visitor)(TypeTag<float>{});
    case DType::float64:
      return std::forward<Visitor>(visitor)(TypeTag<double>{});
    default:
      break;
  }
  throw ArgumentError("a floating dtype is needed, got " + std::string(name_of(dtype)));
}

}  // namespace lockstep
