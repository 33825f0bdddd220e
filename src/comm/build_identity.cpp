#include "comm/build_identity.hpp"

#include <elf.h>
#include <link.h>
#include <spdlog/fmt/fmt.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "lockstep/base/version.hpp"

namespace lockstep {
namespace {

using Bytes = std::span<const unsigned char>;

std::span<const ElfW(Phdr)> segments_of(const dl_phdr_info& file) {
  return {file.dlpi_phdr, file.dlpi_phnum};
}

Bytes bytes_of(const dl_phdr_info& file, const ElfW(Phdr) & segment) {
  return {reinterpret_cast<const unsigned char*>(file.dlpi_addr + segment.p_vaddr),
          segment.p_memsz};
}

bool holds(const dl_phdr_info& file, const void* address) {
  const auto* const byte = static_cast<const unsigned char*>(address);
  for (const auto& segment : segments_of(file)) {
    const Bytes bytes = bytes_of(file, segment);
    if (segment.p_type == PT_LOAD && byte >= bytes.data() && byte < bytes.data() + bytes.size())
      return true;
  }
  return false;
}

// A note is a header, a name and a description, each padded to four bytes.
std::string build_in(Bytes notes) {
  const auto padded = [](std::size_t size) { return (size + 3) / 4 * 4; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const std::size_t name = sizeof header, text = name + padded(header.n_namesz);
    const std::size_t end = text + padded(header.n_descsz);
    if (end > notes.size()) break;
    if (header.n_type == NT_GNU_BUILD_ID && std::memcmp(&notes[name], "GNU", 4) == 0)
      return fmt::format("{:02x}", fmt::join(notes.subspan(text, header.n_descsz), ""));
    notes = notes.subspan(end);
  }
  return {};
}

int find_build(dl_phdr_info* file, std::size_t, void* result) {
  if (!holds(*file, reinterpret_cast<const void*>(&build_identity))) return 0;
  auto& build = *static_cast<std::string*>(result);
  for (const auto& segment : segments_of(*file))
    if (segment.p_type == PT_NOTE && build.empty()) build = build_in(bytes_of(*file, segment));
  return 1;
}

}  // namespace

std::string build_identity() {
  std::string build;
  dl_iterate_phdr(find_build, &build);
  return build.empty() ? LOCKSTEP_VERSION : LOCKSTEP_VERSION " build " + build;
}

}  // namespace lockstep
