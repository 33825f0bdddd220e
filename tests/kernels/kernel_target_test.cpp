// The choice of kernels.

#include "lockstep/kernels/kernel_target.hpp"

#include <algorithm>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/kernels.hpp"

using namespace lockstep;
using namespace lockstep::testing;

TEST_CASE("what is chosen is what runs", "[kernels]") {
  const ChosenKernels restored(kernel_target());
  const auto supported = supported_kernel_targets();
  for (const KernelTarget target : supported) {
    set_kernel_target(target);
    CHECK(kernel_target() == target);
  }
  set_kernel_target(KernelTarget::automatic);
  CHECK(std::ranges::count(supported, kernel_target()) == 1);
  CHECK(std::ranges::count(supported, KernelTarget::automatic) == 0);
  CHECK(supported.front() == KernelTarget::reference);
}

TEST_CASE("what this CPU cannot run is refused, and changes nothing", "[kernels]") {
  const KernelTarget before = kernel_target();
  CHECK_THROWS_AS(set_kernel_target(static_cast<KernelTarget>(77)), ArgumentError);
  CHECK(kernel_target() == before);
}

TEST_CASE("targets have the names of the environment variable", "[kernels]") {
  CHECK(name_of(KernelTarget::reference) == "reference");
  CHECK(name_of(KernelTarget::avx512) == "avx512");
}
