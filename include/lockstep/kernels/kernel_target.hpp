// Which instruction set the kernels of batch normalization use.

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// What runs the kernels. The environment variable LOCKSTEP_KERNELS names one of them, automatic
/// excepted, for the whole process; it is read once, and building a layer of batch normalization
/// throws ArgumentError where it names none that this CPU can run.
enum class KernelTarget : std::uint8_t {
  automatic,  ///< the best that this CPU can run
  reference,  ///< plain loops in double
  scalar,     ///< the kernels of the following, one element at a time
  sse4,
  avx2,
  avx512,
};

/// "avx512".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(KernelTarget target) noexcept;

/// What this CPU can run, in the order of the enumeration, without automatic.
[[nodiscard]] LOCKSTEP_EXPORT std::vector<KernelTarget> supported_kernel_targets();

/// What runs now; never automatic.
[[nodiscard]] LOCKSTEP_EXPORT KernelTarget kernel_target() noexcept;

/// Chooses for the whole process, over the environment; automatic returns to what that says. Must
/// not be called while kernels run. Throws ArgumentError when this CPU cannot run `target`.
LOCKSTEP_EXPORT void set_kernel_target(KernelTarget target);

}  // namespace lockstep
