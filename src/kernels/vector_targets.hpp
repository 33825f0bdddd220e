// The vector kernels of every target.

#pragma once

#include "kernels/vector_normalization.hpp"

namespace lockstep {

[[nodiscard]] const VectorKernelTable& scalar_kernels() noexcept;
[[nodiscard]] const VectorKernelTable& sse4_kernels() noexcept;
[[nodiscard]] const VectorKernelTable& avx2_kernels() noexcept;
[[nodiscard]] const VectorKernelTable& avx512_kernels() noexcept;

}  // namespace lockstep
