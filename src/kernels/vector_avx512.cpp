// The vector kernels for AVX-512.

#include <hwy/detect_targets.h>
#undef HWY_TARGET
#define HWY_TARGET HWY_AVX3
#include "kernels/vector_table_inl.hpp"
#include "kernels/vector_targets.hpp"

namespace lockstep {

const VectorKernelTable& avx512_kernels() noexcept { return HWY_NAMESPACE::table; }

}  // namespace lockstep
