#include "support/allocations.hpp"

#include <link.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string_view>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKSTEP_COUNTS_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOCKSTEP_COUNTS_MALLOC 0
#endif
#endif
#if !defined(LOCKSTEP_COUNTS_MALLOC) && defined(__GLIBC__)
#define LOCKSTEP_COUNTS_MALLOC 1
#elif !defined(LOCKSTEP_COUNTS_MALLOC)
#define LOCKSTEP_COUNTS_MALLOC 0
#endif

#if LOCKSTEP_COUNTS_MALLOC
// What stands behind the functions that are replaced here, and the code of this program.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t num, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
extern const char __executable_start;
extern const char etext;
}
#endif

namespace {

std::atomic<std::int64_t> allocations{0};

struct AddressRange {
  std::uintptr_t first = 0;
  std::uintptr_t last = 0;
};

// Where the code of oneDNN lies in memory; empty in programs without it.
AddressRange find_onednn() noexcept {
  AddressRange range;
  const auto visit = [](dl_phdr_info* object, std::size_t, void* result) {
    if (std::string_view(object->dlpi_name).find("/libdnnl.so") == std::string_view::npos) return 0;
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
      const std::uintptr_t first = object->dlpi_addr + segment.p_vaddr;
      *static_cast<AddressRange*>(result) = {first, first + segment.p_memsz};
    }
    return 1;
  };
  dl_iterate_phdr(visit, &range);
  return range;
}

void count(const void* caller) noexcept {
  static const AddressRange onednn = find_onednn();
  const auto address = reinterpret_cast<std::uintptr_t>(caller);
  if (address < onednn.first || address >= onednn.last) ++allocations;
}

#if LOCKSTEP_COUNTS_MALLOC

// The loader calls malloc before this program's own memory is ready, which an atomic does not need.
void count_own(const void* caller) noexcept {
  if (caller >= &__executable_start && caller < &etext) ++allocations;
}

void* heap(std::size_t size) noexcept { return __libc_malloc(size); }
void* heap(std::size_t alignment, std::size_t size) noexcept {
  return __libc_memalign(alignment, size);
}

#else

void* heap(std::size_t size) noexcept { return std::malloc(size); }
void* heap(std::size_t alignment, std::size_t size) noexcept {
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

#endif

void* take(std::size_t size, const void* caller) noexcept {
  count(caller);
  return heap(size == 0 ? 1 : size);
}

void* take(std::size_t size, std::align_val_t alignment, const void* caller) noexcept {
  count(caller);
  return heap(static_cast<std::size_t>(alignment), size);
}

void* require(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace lockstep::testing {

std::int64_t num_allocations() noexcept { return allocations.load(); }
bool counts_malloc() noexcept { return LOCKSTEP_COUNTS_MALLOC != 0; }

}  // namespace lockstep::testing

#if LOCKSTEP_COUNTS_MALLOC
extern "C" {

void* malloc(std::size_t size) {
  count_own(__builtin_return_address(0));
  return __libc_malloc(size);
}
void* calloc(std::size_t num, std::size_t size) {
  count_own(__builtin_return_address(0));
  return __libc_calloc(num, size);
}
void* realloc(void* memory, std::size_t size) {
  count_own(__builtin_return_address(0));
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count_own(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  count_own(__builtin_return_address(0));
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}
#endif

// Every form is replaced: sanitizers bring their own, which do not call each other as those of the
// standard library do.
void* operator new(std::size_t size) { return require(take(size, __builtin_return_address(0))); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return take(size, __builtin_return_address(0));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return require(take(size, alignment, __builtin_return_address(0)));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return take(size, alignment, __builtin_return_address(0));
}
void* operator new[](std::size_t size) { return require(take(size, __builtin_return_address(0))); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return take(size, __builtin_return_address(0));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return require(take(size, alignment, __builtin_return_address(0)));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return take(size, alignment, __builtin_return_address(0));
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
