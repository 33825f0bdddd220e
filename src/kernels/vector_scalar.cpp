// The vector kernels for one element at a time.

#include <hwy/detect_targets.h>
#undef HWY_TARGET
#define HWY_TARGET HWY_SCALAR
#include "kernels/vector_table_inl.hpp"
#include "kernels/vector_targets.hpp"

namespace lockstep {

const VectorKernelTable& scalar_kernels() noexcept { return HWY_NAMESPACE::table; }

}  // namespace lockstep
