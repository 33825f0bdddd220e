#include "kernels/vector_normalization.hpp"

#include "kernels/vector_targets.hpp"

namespace lockstep {

std::int64_t min_streamed_bytes = std::int64_t{8} << 20;

const VectorKernelTable* vector_kernels(KernelTarget target) noexcept {
  switch (target) {
    case KernelTarget::automatic:
    case KernelTarget::reference:
      return nullptr;
    case KernelTarget::scalar:
      return &scalar_kernels();
    case KernelTarget::sse4:
      return &sse4_kernels();
    case KernelTarget::avx2:
      return &avx2_kernels();
    case KernelTarget::avx512:
      return &avx512_kernels();
  }
  return nullptr;
}

}  // namespace lockstep
