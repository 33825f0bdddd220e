// The vector kernels for SSE4.

#include <hwy/detect_targets.h>
#undef HWY_TARGET
#define HWY_TARGET HWY_SSE4
#include "kernels/vector_table_inl.hpp"
#include "kernels/vector_targets.hpp"

namespace lockstep {

const VectorKernelTable& sse4_kernels() noexcept { return HWY_NAMESPACE::table; }

}  // namespace lockstep
