// The user's choice of kernels by an environment variable.

#pragma once

namespace lockstep {

/// Throws ArgumentError when LOCKSTEP_KERNELS names nothing that this CPU can run.
void check_kernel_environment();

}  // namespace lockstep
