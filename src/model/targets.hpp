// What losses and metrics ask of predictions and targets.

#pragma once

#include <cstdint>
#include <utility>

#include "base/visit_dtype.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// Throws ArgumentError unless predictions are floating [samples, classes] and targets are int64
/// [samples], each a class.
void check_labels(const TensorView& predictions, const TensorView& targets);

/// Throws ArgumentError unless predictions are floating [samples, ...] and targets have their
/// shape.
void check_values(const TensorView& predictions, const TensorView& targets);

/// Calls `visitor` with the TypeTag of any dtype.
template <class Visitor>
decltype(auto) visit_number(DType dtype, Visitor&& visitor) {
  if (dtype == DType::int64) return std::forward<Visitor>(visitor)(TypeTag<std::int64_t>{});
  return visit_floating(dtype, std::forward<Visitor>(visitor));
}

}  // namespace lockstep
