#include "support/allocations.hpp"

#include <link.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string_view>

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

void* take(std::size_t size, const void* caller) noexcept {
  count(caller);
  return std::malloc(size == 0 ? 1 : size);
}

void* take(std::size_t size, std::align_val_t alignment, const void* caller) noexcept {
  count(caller);
  const auto boundary = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(boundary, (size + boundary - 1) / boundary * boundary);
}

void* require(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace lockstep::testing {

std::int64_t num_allocations() noexcept { return allocations.load(); }

}  // namespace lockstep::testing

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
