// Running a test with kernels of one's choice.

#pragma once

#include "lockstep/kernels/kernel_target.hpp"

namespace lockstep::testing {

/// Until it goes out of scope.
class ChosenKernels {
 public:
  explicit ChosenKernels(KernelTarget target) : before_(kernel_target()) {
    set_kernel_target(target);
  }
  ~ChosenKernels() { set_kernel_target(before_); }
  ChosenKernels(const ChosenKernels&) = delete;
  ChosenKernels& operator=(const ChosenKernels&) = delete;

 private:
  KernelTarget before_;
};

}  // namespace lockstep::testing
