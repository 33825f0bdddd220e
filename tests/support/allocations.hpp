// Counts what the test program takes from the heap.

#pragma once

#include <cstdint>

namespace lockstep::testing {

/// Calls of operator new of any kind so far, but for those that oneDNN makes inside of itself, and
/// of malloc and its like that the code of this program makes, not the libraries that it uses.
/// Sanitizers have a malloc of their own, so that with them operator new alone is counted.
std::int64_t num_allocations() noexcept;
bool counts_malloc() noexcept;

}  // namespace lockstep::testing
