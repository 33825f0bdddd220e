// Counts what the test program takes from the heap.

#pragma once

#include <cstdint>

namespace lockstep::testing {

/// Calls of operator new of any kind so far, but for those that oneDNN makes inside of itself.
std::int64_t num_allocations() noexcept;

}  // namespace lockstep::testing
