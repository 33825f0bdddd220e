// The vector kernels for AVX2.

#include <hwy/detect_targets.h>
#undef HWY_TARGET
#define HWY_TARGET HWY_AVX2
#include "kernels/vector_table_inl.hpp"
#include "kernels/vector_targets.hpp"

namespace lockstep {

const VectorKernelTable& avx2_kernels() noexcept { return HWY_NAMESPACE::table; }

}  // namespace lockstep
