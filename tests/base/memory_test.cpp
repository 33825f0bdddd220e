// Memory of tensors and arenas: aligned, and in huge pages where it is large.

#include "base/memory.hpp"

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

// The flags of the mapping that holds this address, "rd wr mr mw me ac hg"; empty where the system
// does not tell.
std::string flags_of_mapping(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool is_inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::uintptr_t first = 0, last = 0;
    char dash = 0;
    if (words >> std::hex >> first >> dash >> last && dash == '-')
      is_inside = first <= wanted && wanted < last;
    else if (is_inside && line.starts_with("VmFlags:"))
      return line + ' ';
  }
  return {};
}

bool has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  return file.good();
}

TEST_CASE("memory is aligned to a cache line, from 2 MiB on to a huge page") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100}, huge_page - 1, huge_page,
                                 huge_page + 1, 3 * huge_page + 5}) {
    const OwnedMemory memory(take_memory(size), {size});
    const std::size_t alignment = size < huge_page ? cache_line : huge_page;
    CHECK(reinterpret_cast<std::uintptr_t>(memory.get()) % alignment == 0);
    memory[0] = memory[size - 1] = std::byte{1};
  }
}

TEST_CASE("memory from 2 MiB on asks for huge pages, also that of tensors") {
  const std::size_t size = 2 * huge_page;
  const OwnedMemory memory(take_memory(size), {size});
  Tensor tensor;
  tensor.resize({static_cast<std::int64_t>(huge_page / sizeof(double)) + 1}, DType::float64);
  CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % huge_page == 0);
  if (!has_huge_pages()) return;
  for (const void* address :
       {static_cast<const void*>(memory.get()), std::as_const(tensor).data()}) {
    const std::string flags = flags_of_mapping(address);
    INFO(flags);
    CHECK((flags.empty() || flags.find(" hg ") != std::string::npos));
  }
}

TEST_CASE("what cannot be had is null") {
  CHECK(take_memory(std::size_t{1} << 62) == nullptr);
  give_back(nullptr, 0);
}

}  // namespace
}  // namespace lockstep
