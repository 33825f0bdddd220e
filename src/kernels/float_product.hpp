// Matrix products of float32 by oneDNN.

#pragma once

#include <memory>

#include "kernels/product.hpp"

namespace lockstep {

/// Primitives for the shapes seen last. A layer owns one, since it meets few shapes: search is
/// short, and what it keeps goes when it goes. Layers of one shape share code in oneDNN's own
/// cache.
class FloatProduct {
 public:
  FloatProduct();
  ~FloatProduct();
  FloatProduct(FloatProduct&&) noexcept;
  FloatProduct& operator=(FloatProduct&&) noexcept;

  /// As product(), plus bias[column] unless that is null. False, and nothing done, where only the
  /// reference can do it: products without elements or summands, and in builds without oneDNN.
  /// Throws ForeignError or MemoryError when oneDNN fails.
  [[nodiscard]] bool multiply(const MatrixView<float>& a, const MatrixView<float>& b,
                              const float* bias, float* result, Result mode);

 private:
  struct Plans;
  std::unique_ptr<Plans> plans_;  // null until the first use
};

}  // namespace lockstep
