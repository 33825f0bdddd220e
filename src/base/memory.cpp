#include "base/memory.hpp"

#include <new>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

namespace lockstep {
namespace {

std::align_val_t alignment_of(std::size_t size) noexcept {
  return std::align_val_t{size < huge_page ? cache_line : huge_page};
}

// Only advice: without huge pages the memory is as good, but slower. The last page, which the
// memory does not fill, may hold other memory of the heap.
void ask_for_huge_pages([[maybe_unused]] std::byte* memory, [[maybe_unused]] std::size_t size) {
#ifdef MADV_HUGEPAGE
  static_cast<void>(::madvise(memory, size / huge_page * huge_page, MADV_HUGEPAGE));
#endif
}

}  // namespace

std::byte* take_memory(std::size_t size) noexcept {
  auto* const memory =
      static_cast<std::byte*>(::operator new[](size, alignment_of(size), std::nothrow));
  if (memory != nullptr && size >= huge_page) ask_for_huge_pages(memory, size);
  return memory;
}

void give_back(std::byte* memory, std::size_t size) noexcept {
  ::operator delete[](memory, alignment_of(size));
}

}  // namespace lockstep
